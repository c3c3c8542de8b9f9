"""Parts of objects, read at their own patches after every decoder layer, with and without what surrounds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.data import Annotation, Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.object_parts.chosen import chosen_objects, steps_told
from vlm_lens.experiments.object_parts.knockouts import layers_of_tower, n_layers_read
from vlm_lens.experiments.object_parts.labels import LabelTokens, labels_of, region_row
from vlm_lens.experiments.object_parts.regions import PartRegion, part_regions
from vlm_lens.experiments.part_identification.conditions import Conditions, ReadPart, conditions_of
from vlm_lens.experiments.part_identification.frames import check_layer
from vlm_lens.experiments.part_identification.hidden import HIDES, caption_without, names_object
from vlm_lens.experiments.part_identification.options import PartIdentificationOptions
from vlm_lens.experiments.part_identification.scores import scored
from vlm_lens.experiments.part_identification.summary import summarised
from vlm_lens.experiments.summary import Summary
from vlm_lens.inputs import Inputs
from vlm_lens.sweeps.cell import Cell

CHOICES = {
    "split_labels": ("skip", "first piece"), "settings": ("all", "knockouts", "none"), "hides": HIDES,
    "null": ("scattered", "shifted"), "null_of": ("every setting", "baseline"), "weighs": ("regions", "pictures"),
    "bins": ("quartiles", "equal"),
}  # fmt: skip


class PartIdentification(Experiment):
    """The rank of a part's label, and of its object's, at the part's patches, layer by layer, under knockouts."""

    name = "part-identification"
    paper = "Takishita et al. 2025"
    figures = "Figures 2, 4, 5, 8, 10 to 16, table 3"
    question = "Does a patch say which part it shows, and does it learn that in the vision tower or in the decoder?"
    needs = "pictures with objects whose parts have masks"
    Options = PartIdentificationOptions
    shard_size = 4

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with one large object of a class; see `chosen_objects`."""
        for name, known in CHOICES.items():
            if getattr(options, name) not in known:
                raise InputError(f"Option {name!r}", f"one of {', '.join(known)}", repr(getattr(options, name)))
        return chosen_objects(data, options)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depths, the size of the vocabulary, and which layers "the last" are.

        Raises:
            InputError: a layer of tables and bars that the decoder does not have.
        """
        vlm = context.vlm
        check_layer(context.options.layer, vlm.cfg.n_layers)  # tables alone ask for it: said before anything runs
        last = layers_of_tower(vlm, context.options)
        return {
            "model": vlm.cfg.model_name,
            "n_layers": vlm.cfg.n_layers,
            "d_vocab": vlm.cfg.d_vocab,
            "n_vision_layers": vlm.vision.cfg.n_layers,
            "n_vision_layers_read": n_layers_read(vlm),
            "last": {name: [layers[0], layers[-1]] for name, layers in last.items()},
            "steps": steps_told(context.data),
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """Every part of every target, under every setting; each condition has its own lens."""
        inputs = self._inputs(context, example)
        parts = self._readable(context, self._parts(context, inputs, example.targets))
        return Grid(inputs, self._conditions(context, parts).objects, None)

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """Tables: `targets` (what a caption names while it is hidden), `regions` (each part), `scores` (each state)."""
        found: dict[str, list[dict[str, Any]]] = {"targets": [], "regions": [], "scores": []}
        for example in examples:
            targets = {one.category: self._target_row(context, example, one) for one in example.targets}
            found["targets"] += targets.values()
            kept = [one for one in example.targets if not targets[one.category]["is_named_while_hidden"]]
            if kept:
                regions, scores = self._read(context, example, kept)
                found["regions"] += regions
                found["scores"] += scores
        return found

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Table 3, the settings, figures 2, 4, 5, 8 and 10 to 16."""
        return summarised(rows, options, facts)

    def _read(self, context: Context, example: Example, targets: Sequence[Annotation]) -> tuple[list[Any], list[Any]]:
        """The rows of `regions` and of `scores` of a picture."""
        inputs = self._inputs(context, example)
        parts = self._parts(context, inputs, targets)
        labels = self._labels(context, parts)
        regions = [{"example": example.id, **region_row(part, labels, context.vlm.cfg.d_vocab)} for part in parts]
        conditions = self._conditions(context, self._readable(context, parts))
        if not conditions.objects:
            return regions, []
        cells = context.sweep(Grid(inputs, conditions.objects, None))
        by_condition = dict(zip(conditions.objects, cells, strict=True))
        scores = [
            {"example": example.id, **row}
            for one in conditions.reads
            for row in self._score_rows(context, one, by_condition[one.condition])
        ]
        return regions, scores

    def _score_rows(self, context: Context, one: ReadPart, cell: Cell) -> list[dict[str, Any]]:
        """A row for each state: 0 is what enters the decoder, k the stream behind k layers."""
        reading, part = cell[one.lens], one.part
        columns = {}
        for name, label in (("", part.part), ("object_", part.category)):
            pair = [np.full(len(reading.states), np.nan)] * 2
            if label in reading.targets:
                pair = list(scored(reading, label, part.region, context.vlm.cfg.d_vocab, context.options.null))
            columns[f"{name}score"], columns[f"{name}null"] = pair
        return [
            {
                "class": part.category, "part": part.part, "setting": one.setting, "layer": layer + 1,
                **{name: float(values[state]) for name, values in columns.items()},
            }
            for state, layer in enumerate(reading.layers)
        ]  # fmt: skip

    def _target_row(self, context: Context, example: Example, target: Annotation) -> dict[str, Any]:
        row: dict[str, Any] = {
            "example": example.id,
            "class": target.category,
            "caption": "",
            "is_named_while_hidden": False,
        }
        if context.options.filters_captions:
            row["caption"] = caption_without(context, example.image, target)
            row["is_named_while_hidden"] = names_object(row["caption"], target.category)
        return row

    def _inputs(self, context: Context, example: Example) -> Inputs:
        options: Any = context.options
        return context.vlm.prepare(
            example.image, options.prompt, template="literal", pad_to_square=options.pad_to_square
        )

    def _parts(self, context: Context, inputs: Inputs, targets: Sequence[Annotation]) -> list[PartRegion]:
        return [part for one in targets for part in part_regions(inputs.layout, one, context.options.threshold)]

    def _labels(self, context: Context, parts: Sequence[PartRegion]) -> Mapping[str, LabelTokens]:
        names = dict.fromkeys(name for part in parts for name in (part.category, part.part))
        return labels_of(context, names, context.vlm.tokenizer)

    def _readable(self, context: Context, parts: Sequence[PartRegion]) -> list[PartRegion]:
        """The parts that cover a patch and have a label, or whose object has one."""
        labels = self._labels(context, parts)
        return [
            part for part in parts if len(part.region) and (labels[part.part].tokens or labels[part.category].tokens)
        ]

    def _conditions(self, context: Context, parts: Sequence[PartRegion]) -> Conditions:
        return conditions_of(context.vlm, parts, self._labels(context, parts), context.options)

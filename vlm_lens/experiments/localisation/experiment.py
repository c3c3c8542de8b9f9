"""Details that a description loses without its direct look at the picture, and where their words looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import chosen_pictures, continued, describing, text_of
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.judged import JudgedOptions, judge_of
from vlm_lens.experiments.layer_windows import at_depth
from vlm_lens.experiments.localisation.detail_masks import masks_of
from vlm_lens.experiments.localisation.looking import accuracy_rows, located, map_rows
from vlm_lens.experiments.localisation.named_tokens import positions_of
from vlm_lens.experiments.localisation.summary import summary_of
from vlm_lens.experiments.options import option
from vlm_lens.experiments.shown_pictures import is_shown, picture_row
from vlm_lens.experiments.summary import Summary
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import TokenLayout
from vlm_lens.metrics.judges import NamedObject
from vlm_lens.probes import AttentionFlow, FlowReading
from vlm_lens.segmenters import MaskRule, Segmenter, segmenter_named


@dataclass(frozen=True)
class LocalisationOptions(JudgedOptions):
    """What can be chosen."""

    details: str = option(
        "lost", "'lost' for objects that the description under img -> gen no longer names, 'all' for every object named"
    )
    rows: str = option(
        "having",
        "whose attention is read: 'having' for the rows that hold an object's words, 'producing' for those that the "
        "words are chosen from, one before; the paper does not say",
    )
    segmenter: str = option(
        "given", "whose masks: 'given' for the data's own, 'clipseg:FOLDER' for a text-prompted model"
    )
    threshold: float = option(0.5, "the score above which a pixel belongs to an object")
    least_share: float = option(
        0.001, "of the picture; a smaller mask is left out (the paper leaves masks out by hand)"
    )
    largest_share: float = option(0.8, "of the picture; a larger mask is left out")
    least_score: float = option(0.6, "mean score of a mask; a less certain one is left out")
    tolerance: int = option(1, "tokens that a peak may lie off the mask")
    width: int = option(4, "layers that accuracy is averaged over, scaled (the paper: 4 of 32, 10 of 80)", least=1)
    map_layers: tuple[int, int] = option((16, 24), "first and last layer, both in, of the maps that are shown, scaled")
    depth: int = option(32, "layers of the model that `width` and `map_layers` are given for")
    n_maps: int = option(3, "pictures whose maps are kept, the first ones", least=0)


class Localisation(Experiment):
    """Whether the words that name an object look at it, layer by layer."""

    name = "localisation"
    paper = "Kaduri et al. 2025"
    figures = "Section 4.5, figures 6, 7, A6, A9"
    question = "In which layers does a word of the description look at the object that it names?"
    needs = "pictures with masks, or a segmenter"
    Options = LocalisationOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The pictures of the list asked for; with the data's own masks, those that have any.

        Raises:
            InputError: an option that has no meaning.
        """
        for name, known in (("details", ("lost", "all")), ("rows", ("having", "producing"))):
            if getattr(options, name) not in known:
                raise InputError(f"Option {name!r}", " or ".join(known), repr(getattr(options, name)))
        data = chosen_pictures(data, options)
        if options.segmenter == "given":
            return data.where("with masks", lambda example: bool(example.annotations))
        return data

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth, who judges, who segments."""
        return {
            **super().facts(context),
            "judge": judge_of(context).fingerprint(),
            "segmenter": _segmenter(context).fingerprint(),
        }

    def grid(self, context: Context, example: Example) -> Grid | None:
        """The model's own description, with its attention, and that under img -> gen; None for all details."""
        if context.options.details == "all":
            return None
        blocked = AttentionKnockout(context.options.queries, "image")
        flow = AttentionFlow("predicting")
        return Grid(describing(context, example), {"img -> gen": blocked}, [continued(context.options), flow])

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """Of each picture its descriptions, a row for each detail and what became of it, accuracy by layer, maps."""
        found: dict[str, list[dict[str, Any]]] = {}
        for example in examples:
            for name, rows in self._read(context, example).items():
                found.setdefault(name, []).extend({"example": example.id, **row} for row in rows)
        return found

    def _read(self, context: Context, example: Example) -> dict[str, list[dict[str, Any]]]:
        options, one = context.options, _described(context, example, self.grid(context, example))
        rule = MaskRule(**{name: getattr(options, name) for name in MaskRule.__dataclass_fields__})
        masks = masks_of(example, one.details, _segmenter(context), rule)
        found: dict[str, list[dict[str, Any]]] = {"descriptions": [one.row]}
        found |= {"details": [], "accuracy": [], "maps": []}
        is_shown_here = is_shown(context, example, options.n_maps)
        for detail, mask in zip(one.details, masks, strict=True):
            words = positions_of(detail, one.row["text"], one.layout)
            wanted = {word - (options.rows == "producing") for word in words}
            rows = sorted(wanted & set(one.reading.positions.tolist()))
            told, patches = located(detail, words, bool(rows), mask, one.layout)
            found["details"].append(told)
            if patches is None:
                continue
            found["accuracy"] += accuracy_rows(told["detail"], one.reading, rows, patches, options.tolerance)
            if is_shown_here:
                shown = one.reading.at(rows).map().averaged(_map_layers(context)).values[0].double().numpy()
                found["maps"] += map_rows(told["detail"], shown, patches)
        if is_shown_here:
            found["pictures"] = [picture_row(example, one.layout)]
        return found

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figures 6 and 7 as tables and figures, what became of the details, the paper's claims."""
        return summary_of(rows, options, facts)


class _Described(NamedTuple):
    """A picture's description: what it attended to, the layout with it, its details, and its row."""

    reading: FlowReading
    layout: TokenLayout
    details: tuple[NamedObject, ...]
    row: dict[str, Any]


def _described(context: Context, example: Example, grid: Grid | None) -> _Described:
    """The model's own description; beside it, where there is a grid, the one that details are lost in."""
    judge = judge_of(context)
    if grid is None:
        flow = AttentionFlow("predicting")
        own = context.vlm.generate(describing(context, example), flow, max_new_tokens=context.options.max_new_tokens)
        row: dict[str, Any] = {**text_of(context, own), "blocked": None}
        named = details = judge.compare(row["text"], "").reference
    else:
        found, flow = context.sweep(grid), grid.read[1]
        assert found.clean.generation is not None
        own, blocked = found.clean.generation, found[0].text
        row = {**text_of(context, own), "blocked": blocked}
        compared = judge.compare(row["text"], blocked)
        named, details = compared.reference, compared.lost
    return _Described(own[flow], own.layout, details, {**row, "n_named": len(named), "n_details": len(details)})


def _segmenter(context: Context) -> Segmenter:
    device = context.vlm.cfg.device or "cpu"
    found: Segmenter = context.once("segmenter", lambda: segmenter_named(context.options.segmenter, device))
    return found


def _map_layers(context: Context) -> range:
    return at_depth(context.options.map_layers, context.options.depth, context.vlm.cfg.n_layers)

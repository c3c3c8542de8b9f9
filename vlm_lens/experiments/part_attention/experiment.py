"""Attention of a part's patches in both towers, whole and under the knockout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from einops import reduce
from PIL import Image

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.object_parts.chosen import chosen_objects, steps_told
from vlm_lens.experiments.object_parts.knockouts import (
    DECODER,
    ENCODER,
    NONE,
    decoder_knockout,
    encoder_knockout,
    n_layers_read,
)
from vlm_lens.experiments.object_parts.options import KnockoutOptions
from vlm_lens.experiments.object_parts.regions import PartRegion, part_regions
from vlm_lens.experiments.options import option
from vlm_lens.experiments.part_attention.summary import summarised
from vlm_lens.experiments.summary import Summary
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Region
from vlm_lens.probes import AttentionFlow
from vlm_lens.sweeps.cell import Cell

VISION, TEXT = "CLIP encoder", "LLM decoder"
PART, ELSEWHERE, CLASS_TOKEN, WORDS = "the part", "other patches", "class token", "words"


@dataclass(frozen=True)
class PartAttentionOptions(KnockoutOptions):
    """What can be chosen."""

    depths: tuple[float, ...] = option((0.0, 0.5, 1.0), "the layers that are read, as shares of each tower's depth")
    part: str = option("largest", "which part of each object: the 'largest', 'all', or a name")
    shown: str = option("", "the example in the figure; the first where empty")


@dataclass(frozen=True, eq=False)
class _Read:
    """One part in one tower under one setting."""

    part: PartRegion
    tower: str
    setting: str
    objects: tuple[Any, ...]

    @property
    def name(self) -> tuple[str, ...]:
        return self.part.category, self.part.part, self.tower, self.setting

    @property
    def flow(self) -> AttentionFlow:
        found: AttentionFlow = self.objects[-1]
        return found


class PartAttention(Experiment):
    """Attention from a part's patches to all patches, in both towers, with and without the knockout."""

    name = "part-attention"
    paper = "Takishita et al. 2025"
    figures = "Figure 3"
    question = "Where do the patches of a part look, and does the knockout do what it says?"
    needs = "pictures with objects whose parts have masks"
    Options = PartAttentionOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with one large object of a class; see `chosen_objects`."""
        if not options.depths or not all(0 <= depth <= 1 for depth in options.depths):
            raise InputError("Option 'depths'", "shares from 0 to 1", repr(options.depths))
        return chosen_objects(data, options)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """The layers of each tower that are read."""
        return {
            "layers": {tower: list(layers) for tower, layers in self._layers(context).items()},
            "steps": steps_told(context.data),
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """For each part both towers, with and without the knockout."""
        inputs = self._inputs(context, example)
        return Grid(inputs, {one.name: one.objects for one in self._reads(context, example, inputs)}, None)

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """Tables: `shares` (by group of keys), `maps` (by patch), `patches` (its own or not, their colour)."""
        found: dict[str, list[dict[str, Any]]] = {"shares": [], "maps": [], "patches": []}
        for example in examples:
            inputs = self._inputs(context, example)
            reads = self._reads(context, example, inputs)
            if not reads:
                continue
            cells = context.sweep(Grid(inputs, {one.name: one.objects for one in reads}, None))
            for one, cell in zip(reads, cells, strict=True):
                shares, maps = _rows_of(one, cell)
                found["shares"] += [{"example": example.id, **row} for row in shares]
                found["maps"] += [{"example": example.id, **row} for row in maps]
            colours = patch_colours(example.image, reads[0].part.region)
            for part in dict.fromkeys(one.part for one in reads):
                found["patches"] += [{"example": example.id, **row} for row in _patch_rows(part, colours)]
        return found

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Shares of attention, and figure 3."""
        return summarised(rows, options, facts)

    def _layers(self, context: Context) -> dict[str, tuple[int, ...]]:
        ends = {VISION: n_layers_read(context.vlm) - 1, TEXT: context.vlm.cfg.n_layers - 1}
        depths = context.options.depths
        return {tower: tuple(sorted({round(depth * end) for depth in depths})) for tower, end in ends.items()}

    def _inputs(self, context: Context, example: Example) -> Inputs:
        options: Any = context.options
        return context.vlm.prepare(
            example.image, options.prompt, template="literal", pad_to_square=options.pad_to_square
        )

    def _reads(self, context: Context, example: Example, inputs: Inputs) -> list[_Read]:
        options: Any = context.options
        layers, has_class_token = self._layers(context), bool(context.vlm.vision.cfg.has_class_token)
        found = []
        for part in self._parts(context, example, inputs):
            region = part.region
            keys: dict[str, Any] = {PART: region, ELSEWHERE: ~region}
            in_tower = {**keys, CLASS_TOKEN: "cls"} if has_class_token else keys
            seen = AttentionFlow(region, in_tower, list(layers[VISION]), tower="vision")
            read = AttentionFlow(region, {**keys, WORDS: "prompt_text"}, list(layers[TEXT]))
            encoder = encoder_knockout(region, "all", options.keeps_class_token)
            found += [
                _Read(part, VISION, NONE, (seen,)),
                _Read(part, VISION, ENCODER, (encoder, seen)),
                _Read(part, TEXT, NONE, (read,)),
                _Read(part, TEXT, DECODER, (decoder_knockout(region, options.keeps_text), read)),
            ]
        return found

    def _parts(self, context: Context, example: Example, inputs: Inputs) -> list[PartRegion]:
        """Of each object the parts that were asked for, which cover some patches and not all."""
        found = []
        for target in example.targets:
            parts = part_regions(inputs.layout, target, context.options.threshold)
            parts = [part for part in parts if len(part.region) and len(~part.region)]
            match context.options.part:
                case "all":
                    found += parts
                case "largest":
                    found += sorted(parts, key=lambda part: -part.share)[:1]
                case name:
                    found += [part for part in parts if part.part == name]
        return found


def patch_colours(image: Image.Image, region: Region) -> list[str]:
    """The mean colour of the pixels that each patch saw, as "#rrggbb", patch by patch.

    Args:
        image: the picture.
        region: of its layout.
    """
    assert region.span.geometry is not None
    pixels = np.asarray(image.convert("RGB"), float)
    boxes = region.span.geometry.patch_boxes(region.span.grid).reshape(-1, 4)
    found = []
    for top, left, bottom, right in boxes:
        rows = slice(int(top), max(int(top) + 1, int(np.ceil(bottom))))
        columns = slice(int(left), max(int(left) + 1, int(np.ceil(right))))
        seen = pixels[rows, columns].reshape(-1, 3)
        mean = seen.mean(axis=0) if len(seen) else np.full(3, 127)
        found.append("#" + "".join(f"{round(float(channel)):02x}" for channel in mean))
    return found


def _rows_of(one: _Read, cell: Cell) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `shares` and of `maps`: means over the part's patches and over heads."""
    reading = cell[one.flow]
    place = {"class": one.part.category, "part": one.part.part, "tower": one.tower, "setting": one.setting}
    means = reduce(reading.shares.double(), "layer query head group -> layer group", "mean")
    shares = [
        {**place, "layer": layer, "to": group, "share": float(share)}
        for layer, of_layer in zip(reading.layers, means, strict=True)
        for group, share in zip(reading.groups, of_layer, strict=True)
    ]
    values = reading.map().values.double().numpy()
    maps = [
        {**place, "layer": layer, "patch_row": row, "patch_col": col, "attention": float(of_layer[row, col])}
        for layer, of_layer in zip(reading.layers, values, strict=True)
        for row, col in np.ndindex(of_layer.shape)
    ]
    return shares, maps


def _patch_rows(part: PartRegion, colours: Sequence[str]) -> list[dict[str, Any]]:
    grid = part.region.span.grid
    return [
        {
            "class": part.category, "part": part.part, "patch_row": number // grid.n_cols,
            "patch_col": number % grid.n_cols, "is_part": number in part.region, "colour": colour,
        }
        for number, colour in enumerate(colours)
    ]  # fmt: skip

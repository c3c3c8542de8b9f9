"""Which part each pixel of a picture shows, and how many such pixels each patch saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vlm_lens.data import Example
from vlm_lens.layout import ImageSpan
from vlm_lens.layout.pixel_patches import UNSEEN, patches_of_pixels

BACKGROUND = -1
"""The number of a pixel that shows no part, or one that is no candidate."""


class PartLabel(NamedTuple):
    """A part of an object of a class: "cat's ear"."""

    category: str
    part: str

    def __str__(self) -> str:
        return f"{self.category}'s {self.part}"


@dataclass(frozen=True, eq=False)
class Truth:
    """What the annotators say of a picture, as far as the model saw it.

    Attributes:
        labels: the candidates.
        numbers: of each pixel the label's place among them, or `BACKGROUND`.
        patches: of each pixel the patch that it belongs to, or `UNSEEN`.
    """

    labels: Sequence[PartLabel]
    numbers: Int[np.ndarray, "height width"]
    patches: Int[np.ndarray, "height width"]

    @classmethod
    def of(cls, example: Example, span: ImageSpan, labels: Sequence[PartLabel]) -> "Truth":
        """The truth of a picture as it stands in a prompt."""
        assert span.geometry is not None, "pictures of an example are prepared here"
        numbers = painted(example, labels, span.geometry.original)
        return cls(labels, numbers, patches_of_pixels(span.geometry, span.grid))

    def counts(self, n_patches: int, counts_background: bool) -> Int[np.ndarray, "patch label_or_background"]:
        """How many pixels of each label each patch saw; the last column is background, which is 0 unless it counts."""
        is_counted = (self.patches != UNSEEN) & (counts_background | (self.numbers != BACKGROUND))
        places = self.patches[is_counted], self.numbers[is_counted] % (len(self.labels) + 1)
        found = np.zeros((n_patches, len(self.labels) + 1), np.int64)
        np.add.at(found, places, 1)
        return found

    @property
    def share_unseen(self) -> float:
        """The share of the pixels with a label that no patch saw."""
        is_part = self.numbers != BACKGROUND
        return float((self.patches[is_part] == UNSEEN).mean()) if is_part.any() else 0.0


def painted(example: Example, labels: Sequence[PartLabel], size: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    """The place of each pixel's label; where parts lie over each other the smaller one is seen (an eye in a head).

    Args:
        example: with parts.
        labels: of which places are given.
        size: height and width.
    """
    places = {label: place for place, label in enumerate(labels)}
    masks = [
        (places[label], mask)
        for one in example.annotations
        for part, mask in one.parts.items()
        if (label := PartLabel(one.category, part)) in places
    ]
    numbers = np.full(size, BACKGROUND)
    for place, mask in sorted(masks, key=lambda found: -int(found[1].sum())):
        numbers[mask] = place
    return numbers


def candidates_of(example: Example, parts: Mapping[str, Sequence[str]], candidates: str) -> list[PartLabel]:
    """The labels that may be given in a picture.

    Args:
        example: the picture.
        parts: of each class.
        candidates: "image" for the parts of the classes in it, "all" for those of every class.
    """
    there = {one.category for one in example.annotations}
    return [
        PartLabel(category, part)
        for category, named in parts.items()
        for part in named
        if candidates == "all" or category in there
    ]

"""Which part each patch is said to show, and how well that fits its pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vlm_lens.experiments.part_segmentation.truth import BACKGROUND, PartLabel, Truth
from vlm_lens.layout.pixel_patches import UNSEEN

LENS, SHUFFLED, CHANCE, MAJORITY, SEGMENTER = "lens", "lens, shuffled", "chance", "majority of each patch", "segmenter"

Counts = dict[str, Float[np.ndarray, " label"]]
"""For each label pixels in the intersection, in the annotation and in the prediction."""


Said = Float[np.ndarray, "state patch"]
"""The logarithm of a word's probability at each patch after each layer."""


def patch_labels(
    labels: Sequence[PartLabel], parts: Mapping[str, Said], objects: Mapping[str, Said]
) -> Int[np.ndarray, "state patch"]:
    """The label that each patch says: its most probable part, of the most probable class that has such a part.

    Args:
        labels: the candidates; places among them are given.
        parts: how probable each part's word is.
        objects: how probable each class's word is; one that is not there is the last choice.
    """
    said = np.stack([parts[part] for part in parts])
    nowhere = np.full_like(said[0], -np.inf)
    winners = []
    for part in parts:
        own = [place for place, label in enumerate(labels) if label.part == part]
        classes = np.stack([objects.get(labels[place].category, nowhere) for place in own])
        winners.append(np.array(own)[classes.argmax(axis=0)])
    best: Int[np.ndarray, "state patch"] = np.take_along_axis(np.stack(winners), said.argmax(axis=0)[None], axis=0)[0]
    return best


def overlap_of_patches(
    predicted: Int[np.ndarray, " patch"], counts: Int[np.ndarray, "patch label_or_background"]
) -> Counts:
    """What a label for each patch, given to all its pixels, shares with the annotation."""
    n_labels = counts.shape[1] - 1
    chosen = predicted[:, None] == np.arange(n_labels)
    return {
        "intersection": (counts[:, :-1] * chosen).sum(axis=0).astype(float),
        "annotated": counts[:, :-1].sum(axis=0).astype(float),
        "predicted": (counts.sum(axis=1)[:, None] * chosen).sum(axis=0).astype(float),
    }


def overlap_by_chance(
    shares: Float[np.ndarray, " label"], counts: Int[np.ndarray, "patch label_or_background"]
) -> Counts:
    """What is expected, exactly, where each patch has each label with some probability, whatever it shows.

    Args:
        shares: the probabilities; for labels that are shuffled among the patches the shares that they have.
        counts: pixels of each label in each patch.
    """
    annotated = counts[:, :-1].sum(axis=0)
    return {
        "intersection": shares * annotated,
        "annotated": annotated.astype(float),
        "predicted": shares * float(counts.sum()),
    }


def shares_of(
    predicted: Int[np.ndarray, " patch"], counts: Int[np.ndarray, "patch label_or_background"]
) -> Float[np.ndarray, " label"]:
    """The share of each label among the patches that have pixels which count."""
    there = predicted[counts.sum(axis=1) > 0]
    return np.bincount(there, minlength=counts.shape[1] - 1) / max(len(there), 1)


def overlap_of_pixels(predicted: Int[np.ndarray, "height width"], truth: Truth, counts_background: bool) -> Counts:
    """What a label for each pixel shares with the annotation, over the pixels that the model saw."""
    is_counted = (truth.patches != UNSEEN) & (counts_background | (truth.numbers != BACKGROUND))
    said, is_so = predicted[is_counted], truth.numbers[is_counted]
    n_labels = len(truth.labels)

    def counted(places: Any) -> Float[np.ndarray, " label"]:
        return np.bincount(places, minlength=n_labels).astype(float)

    return {
        "intersection": counted(said[said == is_so]),
        "annotated": counted(is_so[is_so != BACKGROUND]),
        "predicted": counted(said),
    }

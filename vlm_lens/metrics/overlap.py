"""Intersection over union of predicted and true labels, counted picture by picture and divided at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from vlm_lens.errors import InputError
from vlm_lens.metrics.intervals import Estimate, bootstrap_ends

NOTHING = -1
"""The label of a pixel that belongs to no class."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Pixels of one picture for each class.

    Attributes:
        intersection: predicted and true.
        union: predicted or true.
    """

    intersection: Int[np.ndarray, " class"]
    union: Int[np.ndarray, " class"]


def overlap_of(
    predicted: Int[np.ndarray, "height width"],
    truth: Int[np.ndarray, "true_height true_width"],
    n_classes: int,
    *,
    void: int | None = None,
) -> Overlap:
    """The pixels that a prediction and the truth share, for each class.

    Args:
        predicted: a class from 0 for each pixel, or `NOTHING`.
        truth: the same; its void pixels are left out, whatever was predicted there.
        n_classes: how many.
        void: the label of pixels that nobody knows: 255, 65535.

    Raises:
        InputError: another size, or labels that are neither a class nor `NOTHING` nor void.
    """
    if predicted.shape != truth.shape:
        raise InputError("Predicted labels", f"the size of the true ones, {truth.shape}", predicted.shape)
    is_known = np.ones(truth.shape, bool) if void is None else truth != void
    said, true = predicted[is_known].astype(np.int64), truth[is_known].astype(np.int64)
    for what, labels in (("Predicted labels", said), ("True labels", true)):
        if labels.size and not (labels.min() >= NOTHING and labels.max() < n_classes):
            rule = f"classes from 0 to {n_classes - 1}, {NOTHING} for none"
            raise InputError(what, rule, f"{labels.min()} to {labels.max()}", "Name the void label: void=255.")
    # One place more, for nothing, which is no class and is cut off.
    counts = [np.bincount(labels + 1, minlength=n_classes + 1)[1:] for labels in (said[said == true], said, true)]
    return Overlap(counts[0], counts[1] + counts[2] - counts[0])


def mask_iou(one: Bool[np.ndarray, "height width"], other: Bool[np.ndarray, "height width"]) -> float:
    """Intersection over union of two masks; NaN where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else float("nan")


def class_iou(
    intersections: Real[np.ndarray, "picture class"], unions: Real[np.ndarray, "picture class"]
) -> Float[np.ndarray, " class"]:
    """Each class's pixels in common over all pictures, of those that either has; NaN where no picture has any."""
    intersection, union = intersections.sum(axis=0), unions.sum(axis=0)
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(intersections: Real[np.ndarray, "picture class"], unions: Real[np.ndarray, "picture class"]) -> float:
    """mIoU: the mean of `class_iou` over the classes that occur.

    Raises:
        InputError: none does.

    Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015, section 5.
    """
    by_class = class_iou(intersections, unions)
    if np.isnan(by_class).all():
        raise InputError("mIoU", "a class that occurs in some picture, predicted or true", "none")
    return float(np.nanmean(by_class))


def mean_iou_over_pictures(overlaps: Sequence[Overlap], *, seed: int = 0) -> Estimate:
    """The mIoU with the percentile interval of a bootstrap over pictures.

    A class that no picture of a draw has is left out of that draw's mean.

    Args:
        overlaps: one for each picture.
        seed: of the draws.

    Raises:
        InputError: no picture, or no class in any.
    """
    if not overlaps:
        raise InputError("mIoU", "at least one picture", "none")
    intersections = np.stack([one.intersection for one in overlaps]).astype(float)
    unions = np.stack([one.union for one in overlaps]).astype(float)
    value, n = mean_iou(intersections, unions), len(overlaps)
    if n == 1:
        return Estimate(value, float("nan"), float("nan"), 1)

    def of_drawn(pictures: Int[np.ndarray, " draw"]) -> float:
        times = np.bincount(pictures, minlength=n)[None]
        # A draw can be all of pictures without any class.
        return mean_iou(times @ intersections, times @ unions) if (times @ unions).any() else value

    low, high = bootstrap_ends((np.arange(n),), of_drawn, seed=seed)
    return Estimate(value, low, high, n)

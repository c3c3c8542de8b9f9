"""Mean intersection over union from counts of single pictures, with intervals over pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from vlm_lens.errors import InputError
from vlm_lens.metrics.intervals import Estimate, bootstrap_ends

COUNTS = ("intersection", "annotated", "predicted")

Pictures = Float[np.ndarray, "picture count label"]
"""For each picture and label the pixels in the intersection, in the annotation and in the prediction."""


def counts_of(rows: pd.DataFrame, examples: Sequence[str], labels: Sequence[str]) -> Pictures:
    """The counts of one method, 0 where a picture has no row of a label.

    Args:
        rows: with `example`, `label` and the three counts, each label of a picture once.
        examples: in the order that is wanted.
        labels: in the order that is wanted.
    """
    found = np.zeros((len(examples), len(COUNTS), len(labels)))
    places = pd.Index(examples).get_indexer(rows["example"]), pd.Index(labels).get_indexer(rows["label"])
    for number, name in enumerate(COUNTS):
        found[places[0], number, places[1]] = rows[name].to_numpy()
    return found


def mean_iou(totals: Float[np.ndarray, "*batch count label"]) -> Float[np.ndarray, "*batch"]:
    """The mean over labels of intersection over union; a label that is annotated nowhere has no say.

    Args:
        totals: sums over pictures.
    """
    intersection, annotated, predicted = (totals[..., number, :] for number in range(len(COUNTS)))
    is_there = annotated > 0
    union = np.where(is_there, annotated + predicted - intersection, 1.0)
    return np.asarray(np.where(is_there, intersection / union, 0).sum(-1) / is_there.sum(-1))


def mean_iou_over_pictures(pictures: Pictures, baseline: Pictures | None = None, *, seed: int = 0) -> Estimate:
    """Mean intersection over union with the percentile interval of a bootstrap over pictures, which are drawn whole.

    Args:
        pictures: the counts of each.
        baseline: of the same pictures under another method; the figure is then the difference from it.
        seed: of the draws.

    Raises:
        InputError: no picture has an annotated pixel.
    """
    n = len(pictures)
    if not pictures[:, 1].any():
        raise InputError("Mean intersection over union", "at least one annotated pixel", "none")

    def figure(weights: Float[np.ndarray, "draw picture"]) -> Float[np.ndarray, " draw"]:
        def of(counts: Pictures) -> Float[np.ndarray, " draw"]:
            return mean_iou(np.tensordot(weights, counts, axes=1))

        return of(pictures) if baseline is None else of(pictures) - of(baseline)

    def drawn(index: Any, axis: int = -1) -> Float[np.ndarray, " draw"]:
        index = np.atleast_2d(index)
        weights = np.zeros((len(index), n))
        np.add.at(weights, (np.arange(len(index))[:, None], index), 1)
        return figure(weights)

    value = float(figure(np.ones((1, n)))[0])
    # A picture whose parts are annotated but never seen counts nothing, and says nothing of how sure the figure is.
    n_counted = int((pictures[:, 1].sum(axis=-1) > 0).sum())
    if n_counted == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    low, high = bootstrap_ends((np.arange(n),), drawn, seed=seed, vectorized=True, batch=200)
    return Estimate(value, low, high, n_counted)

"""Intersection over union from counts: equal to scikit-learn and to the metrics' own; whole pictures are drawn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import jaccard_score

from vlm_lens.errors import InputError
from vlm_lens.experiments.part_segmentation.mean_iou import counts_of, mean_iou, mean_iou_over_pictures
from vlm_lens.metrics import overlap

N_LABELS = 4


def drawn_pictures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true labels of pictures of 6 x 6 pixels; predictions are right in three quarters of them."""
    random = np.random.default_rng(seed)
    true = random.integers(0, N_LABELS, (n, 6, 6))
    return np.where(random.random(true.shape) < 0.66, true, random.integers(0, N_LABELS, true.shape)), true


def counts(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    said, is_so = (one[:, None] == np.arange(N_LABELS)[:, None, None] for one in (predicted, true))
    return np.stack([one.sum(axis=(2, 3)) for one in (said & is_so, is_so, said)], axis=1).astype(float)


def test_it_equals_scikit_learn_and_the_metric_on_all_pixels() -> None:
    predicted, true = drawn_pictures(5)
    found = float(mean_iou(counts(predicted, true).sum(axis=0)))
    assert found == pytest.approx(jaccard_score(true.ravel(), predicted.ravel(), average="macro"), abs=1e-12)
    overlaps = [overlap.overlap_of(one, other, N_LABELS) for one, other in zip(predicted, true, strict=True)]
    assert found == pytest.approx(
        overlap.mean_iou(np.stack([o.intersection for o in overlaps]), np.stack([o.union for o in overlaps]))
    )


def test_a_hand_computed_case() -> None:
    # Label 0: 3 of 4 annotated pixels, 5 predicted: 3 / 6. Label 1: none of 2 in common, 1 predicted: 0 / 3.
    assert mean_iou(np.array([[3.0, 0], [4, 2], [5, 1]])) == pytest.approx((0.5 + 0) / 2)


def test_a_label_that_is_annotated_nowhere_has_no_say() -> None:
    assert mean_iou(np.array([[3.0, 0], [4, 0], [5, 7]])) == pytest.approx(0.5)


def test_the_interval_is_that_of_a_loop_over_drawn_pictures() -> None:
    pictures = counts(*drawn_pictures(6))
    found = mean_iou_over_pictures(pictures)
    random = np.random.default_rng(5)
    loop = [float(mean_iou(pictures[random.integers(0, 6, 6)].sum(axis=0))) for _ in range(4000)]
    assert found.value == pytest.approx(float(mean_iou(pictures.sum(axis=0))))
    assert (found.low, found.high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.01)
    assert found.low < found.value < found.high and found.n == 6


def test_a_difference_is_paired() -> None:
    pictures = counts(*drawn_pictures(6))
    same = mean_iou_over_pictures(pictures, pictures)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = pictures.copy()
    other[:, 0] *= 0.9  # every picture loses as much
    worse = mean_iou_over_pictures(pictures, other)
    alone = mean_iou_over_pictures(pictures)
    assert worse.low > 0 and worse.high - worse.low < (alone.high - alone.low) / 2


def test_one_picture_has_no_interval_and_none_is_refused() -> None:
    pictures = counts(*drawn_pictures(1))
    assert np.isnan(mean_iou_over_pictures(pictures).low)
    with pytest.raises(InputError, match="annotated pixel"):
        mean_iou_over_pictures(np.zeros((3, 3, 2)))


def test_rows_go_to_their_picture_and_label() -> None:
    rows = pd.DataFrame(
        {"example": ["b", "a"], "label": ["y", "x"], "intersection": [1.0, 2], "annotated": [3.0, 4],
         "predicted": [5.0, 6]}
    )  # fmt: skip
    found = counts_of(rows, ["a", "b"], ["x", "y"])
    assert found[0].tolist() == [[2, 0], [4, 0], [6, 0]] and found[1].tolist() == [[0, 1], [0, 3], [0, 5]]

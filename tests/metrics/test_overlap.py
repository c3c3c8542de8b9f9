"""Overlap against counting by hand, scikit-learn's confusion matrix and pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from sklearn.metrics import confusion_matrix, jaccard_score

from vlm_lens.errors import InputError
from vlm_lens.metrics.overlap import NOTHING, Overlap, class_iou, mask_iou, mean_iou, mean_iou_over_pictures, overlap_of

VOID, N_CLASSES = 255, 4
SHAPE = (5, 7)


def test_a_picture_counted_by_hand() -> None:
    predicted = np.array([[0, 0, 1, 1], [0, NOTHING, 1, 2]])
    truth = np.array([[0, 1, 1, VOID], [NOTHING, 0, VOID, 2]])
    found = overlap_of(predicted, truth, 4, void=VOID)
    # Class 0: one pixel of both, besides two predicted and one true. Class 1: one of both, one true. Class 2: one.
    assert found.intersection.tolist() == [1, 1, 1, 0] and found.union.tolist() == [4, 2, 1, 0]
    by_class = class_iou(found.intersection[None], found.union[None])
    np.testing.assert_array_equal(by_class, [0.25, 0.5, 1.0, np.nan])
    assert mean_iou(found.intersection[None], found.union[None]) == pytest.approx((0.25 + 0.5 + 1) / 3)


def labels(with_void: bool) -> some.SearchStrategy[np.ndarray]:
    values = [NOTHING, *range(N_CLASSES), *([VOID] if with_void else [])]
    return arrays.arrays(np.int64, SHAPE, elements=some.sampled_from(values))


@given(some.lists(some.tuples(labels(False), labels(True)), min_size=1, max_size=4))
def test_pixels_over_all_pictures_are_those_of_one_confusion_matrix(pictures: list[tuple[np.ndarray, ...]]) -> None:
    overlaps = [overlap_of(predicted, truth, N_CLASSES, void=VOID) for predicted, truth in pictures]
    said = np.concatenate([predicted[truth != VOID] for predicted, truth in pictures])
    true = np.concatenate([truth[truth != VOID] for _, truth in pictures])
    intersection, union = (np.stack([getattr(one, name) for one in overlaps]) for name in ("intersection", "union"))
    matrix = np.zeros((N_CLASSES + 1,) * 2, int)
    if len(true):
        matrix = confusion_matrix(true, said, labels=[*range(N_CLASSES), NOTHING])
    both = np.diag(matrix)[:N_CLASSES]
    either = (matrix.sum(axis=0) + matrix.sum(axis=1))[:N_CLASSES] - both
    assert intersection.sum(axis=0).tolist() == both.tolist() and union.sum(axis=0).tolist() == either.tolist()
    if not either.any():
        with pytest.raises(InputError, match="a class that occurs"):
            mean_iou(intersection, union)
        return
    present = np.flatnonzero(either)
    scores = jaccard_score(true, said, labels=present, average=None)
    np.testing.assert_allclose(class_iou(intersection, union)[present], scores)
    assert mean_iou(intersection, union) == pytest.approx(scores.mean())


@given(*[arrays.arrays(bool, SHAPE) for _ in range(2)])
def test_masks_overlap_as_pycocotools_says(one: np.ndarray, other: np.ndarray) -> None:
    encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in (one, other)]
    (expected,) = coco_mask.iou(encoded[:1], encoded[1:], [0]).ravel()
    found = mask_iou(one, other)
    if not (one | other).any():
        assert np.isnan(found)
        return
    assert found == pytest.approx(expected)
    overlap = overlap_of(one.astype(int) - 1, other.astype(int) - 1, 1)
    assert overlap.intersection[0] / overlap.union[0] == pytest.approx(expected)


def drawn_overlaps(n: int) -> list[Overlap]:
    random = np.random.default_rng(3)
    unions = random.integers(20, 400, (n, 3))
    return [Overlap(random.integers(0, union + 1), union) for union in unions]


def test_the_interval_is_that_of_a_loop_over_drawn_pictures() -> None:
    overlaps = drawn_overlaps(30)
    found = mean_iou_over_pictures(overlaps, seed=7)
    random, by_hand = np.random.default_rng(11), []
    for _ in range(2000):
        chosen = [overlaps[one] for one in random.integers(0, 30, 30)]
        shared, either = sum(one.intersection for one in chosen), sum(one.union for one in chosen)
        by_hand.append((shared / either).mean())
    low, high = np.percentile(by_hand, [2.5, 97.5])
    # Other draws: a percentile of 2000 is known to some hundredths of the width.
    assert found.low == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high == pytest.approx(high, abs=0.08 * (high - low))
    assert found.low < found.value < found.high and found.n == 30
    assert found == mean_iou_over_pictures(overlaps, seed=7) != mean_iou_over_pictures(overlaps, seed=8)


def test_pictures_without_a_class_do_not_break_the_draws() -> None:
    nothing, one = Overlap(np.array([0, 0]), np.array([0, 0])), Overlap(np.array([3, 0]), np.array([4, 0]))
    found = mean_iou_over_pictures([nothing, one])
    assert (found.value, found.low, found.high, found.n) == (0.75, 0.75, 0.75, 2)


def test_one_picture_has_no_interval() -> None:
    found = mean_iou_over_pictures(drawn_overlaps(1))
    assert np.isnan([found.low, found.high]).all() and found.n == 1


def test_what_cannot_be_counted_is_refused() -> None:
    labels = np.zeros((2, 3), int)
    with pytest.raises(InputError, match="size of the true ones"):
        overlap_of(labels, labels.T, 1)
    with pytest.raises(InputError, match="True labels: expected classes from 0 to 2, .* Name the void label"):
        overlap_of(labels, labels + 255, 3)
    with pytest.raises(InputError, match="Predicted labels: expected classes from 0 to 2"):
        overlap_of(labels - 2, labels, 3)
    with pytest.raises(InputError, match="at least one picture"):
        mean_iou_over_pictures([])

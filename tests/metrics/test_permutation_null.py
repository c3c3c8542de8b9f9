"""Nulls by permutation, against every choice and every place written out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from vlm_lens.errors import InputError
from vlm_lens.metrics.null import null_score
from vlm_lens.metrics.permutation_null import expected_maximum, scattered_null, shifted_null

NUMBERS = some.floats(-5, 5, allow_nan=False, width=32)


@given(some.data())
def test_the_expected_maximum_is_the_mean_over_all_choices(data: some.DataObject) -> None:
    scores = data.draw(arrays.arrays(float, some.integers(1, 8), elements=NUMBERS))
    n = data.draw(some.integers(1, len(scores)))
    by_hand = np.mean([max(chosen) for chosen in combinations(scores, n)])
    np.testing.assert_allclose(expected_maximum(scores, n), by_hand, atol=1e-9)


def test_half_of_576_patches_can_be_chosen() -> None:
    scores = np.linspace(0, 1, 576)
    # Of N numbers 1..N the largest of n chosen is expected at n (N + 1) / (n + 1).
    assert expected_maximum(scores, 288) == pytest.approx((288 * 577 / 289 - 1) / 575, abs=1e-9)
    assert expected_maximum(scores, 576) == 1.0
    assert expected_maximum(scores, 1) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("n", [0, 4])
def test_more_patches_than_there_are_cannot_be_chosen(n: int) -> None:
    with pytest.raises(InputError, match="1 to 3"):
        expected_maximum(np.zeros(3), n)


def region_of(*patches: tuple[int, int], shape: tuple[int, int] = (3, 3)) -> np.ndarray:
    region = np.zeros(shape, bool)
    for row, col in patches:
        region[row, col] = True
    return region


def test_scattered_patches_worked_out_by_hand() -> None:
    """Outside the middle row of 3 x 3 lie six patches, one with a 1: it is among the 3 chosen in half of the draws."""
    scores = np.zeros((2, 3, 3))
    scores[0, 0, 0] = 1.0
    scores[1, 1, 1] = 1.0  # in the region itself
    region = region_of((1, 0), (1, 1), (1, 2))
    np.testing.assert_allclose(scattered_null(scores, region), [0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(scattered_null(scores, region, elsewhere=False), [1 / 3, 1 / 3], atol=1e-12)


def test_a_region_of_more_than_half_the_picture_has_no_elsewhere() -> None:
    scores, region = np.arange(18.0).reshape(2, 3, 3), np.ones((3, 3), bool)
    region[0] = False
    assert np.isnan(scattered_null(scores, region)).all() and scattered_null(scores, region).shape == (2,)
    assert np.isnan(shifted_null(scores, np.ones((3, 3), bool))).all()
    assert np.isfinite(scattered_null(scores, region, elsewhere=False)).all()


def shifted_by_hand(scores: np.ndarray, region: np.ndarray, elsewhere: bool) -> float:
    patches = np.argwhere(region)
    found = []
    for down in range(-scores.shape[0], scores.shape[0] + 1):
        for right in range(-scores.shape[1], scores.shape[1] + 1):
            moved = patches + (down, right)
            if (moved < 0).any() or (moved >= scores.shape).any() or (down, right) == (0, 0):
                continue
            if elsewhere and region[tuple(moved.T)].any():
                continue
            found.append(scores[tuple(moved.T)].max())
    return float(np.mean(found)) if found else float("nan")


@given(some.data(), some.booleans())
def test_a_shape_is_put_at_every_place_where_it_fits(data: some.DataObject, elsewhere: bool) -> None:
    shape = data.draw(some.tuples(some.integers(1, 6), some.integers(1, 6)))
    scores = data.draw(arrays.arrays(float, (2, *shape), elements=NUMBERS))
    patches = some.tuples(some.integers(0, shape[0] - 1), some.integers(0, shape[1] - 1))
    region = region_of(*data.draw(some.lists(patches, min_size=1, max_size=6)), shape=shape)
    found = shifted_null(scores, region, elsewhere=elsewhere)
    by_hand = [shifted_by_hand(one, region, elsewhere) for one in scores]
    np.testing.assert_allclose(found, by_hand, atol=1e-9)


def test_patches_that_know_nothing_score_as_the_analytic_null() -> None:
    """Uniform ranks in 400 pictures of 24 x 24: both nulls have its expectation."""
    ranks = np.random.default_rng(0).integers(1, 32_001, (400, 24, 24))
    scores = 1 - np.log(ranks) / np.log(32_000)
    region = np.zeros((24, 24), bool)
    region[4:8, 10:14] = True
    expected = null_score(16, 32_000)
    assert scattered_null(scores, region).mean() == pytest.approx(expected, abs=0.005)
    assert shifted_null(scores, region).mean() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("null", [scattered_null, shifted_null])
def test_a_region_that_is_none_is_refused(null: object) -> None:
    with pytest.raises(InputError, match="at least one patch"):
        null(np.zeros((3, 3)), np.zeros((3, 3), bool))
    with pytest.raises(InputError, match="the grid of the scores"):
        null(np.zeros((3, 3)), np.ones((2, 3), bool))

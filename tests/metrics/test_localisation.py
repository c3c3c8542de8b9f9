"""Whether attention peaks near an object, against distances written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from vlm_lens.errors import InputError
from vlm_lens.metrics.localisation import by_windows, chance_of_peak, dilated, peak_is_near


def one_patch(row: int, col: int, shape: tuple[int, int] = (5, 5)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row, col] = True
    return mask


def test_a_peak_may_lie_one_token_off_also_diagonally() -> None:
    mask = one_patch(2, 2)
    peaks = np.stack([one_patch(row, col).astype(float) for row, col in [(2, 2), (1, 1), (3, 2), (0, 2), (4, 4)]])
    assert peak_is_near(peaks, mask).tolist() == [1, 1, 1, 0, 0]
    assert peak_is_near(peaks, mask, tolerance=0).tolist() == [1, 0, 0, 0, 0]
    assert peak_is_near(peaks, mask, tolerance=2).tolist() == [1, 1, 1, 1, 1]


def test_of_equal_peaks_the_share_counts() -> None:
    attention = (one_patch(0, 0) | one_patch(4, 4)).astype(float)
    assert float(peak_is_near(attention, one_patch(4, 3))) == 0.5
    assert float(peak_is_near(np.zeros((5, 5)), one_patch(4, 4))) == chance_of_peak(one_patch(4, 4)) == 4 / 25


@given(some.data())
def test_a_mask_is_dilated_by_the_chebyshev_distance(data: some.DataObject) -> None:
    shape = data.draw(some.tuples(some.integers(1, 7), some.integers(1, 7)))
    mask = data.draw(arrays.arrays(bool, shape))
    tolerance = data.draw(some.integers(0, 4))
    marked = np.argwhere(mask)
    found = dilated(mask, tolerance)
    for place in np.ndindex(shape):
        is_near = any(np.abs(np.subtract(place, one)).max() <= tolerance for one in marked)
        assert found[place] == is_near


def test_chance_is_what_random_attention_has() -> None:
    mask = one_patch(0, 0, (8, 8)) | one_patch(5, 5, (8, 8))
    attention = np.random.default_rng(0).random((6000, 8, 8))
    assert chance_of_peak(mask) == (4 + 9) / 64
    # Standard error sqrt(0.2 * 0.8 / 6000) = 0.005.
    assert peak_is_near(attention, mask).mean() == pytest.approx(13 / 64, abs=0.02)


def test_windows_are_means_of_consecutive_layers() -> None:
    values = np.arange(12.0).reshape(2, 6) ** 2
    found = by_windows(values, 4)
    by_hand = [[row[start : start + 4].mean() for start in range(3)] for row in values]
    np.testing.assert_allclose(found, by_hand)
    np.testing.assert_allclose(by_windows(values, 4, step=4), found[:, :1])  # two layers fill no window
    np.testing.assert_allclose(by_windows(values, 3, step=3), values.reshape(2, 2, 3).mean(axis=-1))
    np.testing.assert_array_equal(by_windows(values, 1), values)


@pytest.mark.parametrize(("width", "step"), [(0, 1), (7, 1), (2, 0)])
def test_windows_that_cannot_be_are_refused(width: int, step: int) -> None:
    with pytest.raises(InputError, match="a width from 1 to 6"):
        by_windows(np.zeros(6), width, step)


def test_what_cannot_be_localised_is_refused() -> None:
    attention = np.zeros((3, 5, 5))
    with pytest.raises(InputError, match="at least one patch"):
        peak_is_near(attention, np.zeros((5, 5), bool))
    with pytest.raises(InputError, match="the grid of the attention"):
        peak_is_near(attention, one_patch(0, 0, (5, 4)))
    with pytest.raises(InputError, match="0 tokens or more"):
        peak_is_near(attention, one_patch(0, 0), tolerance=-1)
    attention[1, 2, 2] = np.nan
    with pytest.raises(InputError, match="1 NaN"):
        peak_is_near(attention, one_patch(0, 0))

"""What a region of this size scores elsewhere in the same picture, as exact means: nothing is drawn."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, special

from vlm_lens.errors import InputError


def expected_maximum(scores: Float[np.ndarray, "*state patch"], n: int) -> Float[np.ndarray, "*state"]:
    """The mean, over all ways to choose n of the patches, of the largest score among them.

    Of N patches in ascending order, the i-th is the largest of the chosen with probability C(i - 1, n - 1) / C(N, n).

    Raises:
        InputError: n below 1 or above the number of patches.

    Example:
        >>> round(float(expected_maximum(np.array([0.0, 1.0, 0.0]), 2)), 3)  # two of the three pairs have the 1
        0.667
    """
    n_all = scores.shape[-1]
    if not 1 <= n <= n_all:
        raise InputError("Patches to choose", f"1 to {n_all}", n)
    places = np.arange(n, n_all + 1)
    # In logarithms, beside the largest: a half of 576 patches can be chosen in 10^172 ways.
    ways = special.gammaln(places) - special.gammaln(places - n + 1)
    chances = np.exp(ways - ways.max())
    ordered = np.sort(scores, axis=-1)[..., n - 1 :]
    found: Float[np.ndarray, "*state"] = np.asarray(ordered @ (chances / chances.sum()))
    return found


def scattered_null(
    scores: Float[np.ndarray, "*state patch_row patch_col"],
    region: Bool[np.ndarray, "region_row region_col"],
    *,
    elsewhere: bool = True,
) -> Float[np.ndarray, "*state"]:
    """The expected score of as many patches as the region has, chosen anywhere outside it.

    It answers to the size of a maximum alone. Scattered patches agree with each other less than neighbours do, so this
    null is the stricter one; `shifted_null` keeps the shape.

    Args:
        scores: of every patch of the picture.
        region: its patches.
        elsewhere: whether the region's own patches are left out. NaN where the rest is smaller than the region.

    Raises:
        InputError: a region without patches, or of another grid.
    """
    _check(scores, region)
    pool = scores[..., ~region] if elsewhere else scores.reshape(*scores.shape[:-2], -1)
    n = int(region.sum())
    if n > pool.shape[-1]:
        return np.full(scores.shape[:-2], np.nan)
    return expected_maximum(pool, n)


def shifted_null(
    scores: Float[np.ndarray, "*state patch_row patch_col"],
    region: Bool[np.ndarray, "region_row region_col"],
    *,
    elsewhere: bool = True,
) -> Float[np.ndarray, "*state"]:
    """The mean score of the region's shape at every other place in the picture where it fits.

    Args:
        scores: of every patch of the picture.
        region: its patches.
        elsewhere: whether places that share a patch with the region are left out, and else its own place alone. NaN
            where no place is left.

    Raises:
        InputError: a region without patches, or of another grid.
    """
    _check(scores, region)
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    shape = region[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    maxima = _at_every_place(scores, shape)
    if elsewhere:
        is_free = ~_at_every_place(region, shape)
    else:
        is_free = np.ones(maxima.shape[-2:], bool)
        is_free[rows[0], cols[0]] = False
    if not is_free.any():
        return np.full(scores.shape[:-2], np.nan)
    found: Float[np.ndarray, "*state"] = np.asarray(maxima[..., is_free].mean(axis=-1))
    return found


def _at_every_place(values: np.ndarray, shape: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """The largest value under a shape, for each place of its upper left corner at which it lies within the grid."""
    height, width = shape.shape
    n_rows, n_cols = values.shape[-2] - height + 1, values.shape[-1] - width + 1
    # A filter is centred; its origin moves the centre to the upper left corner.
    moved = (-((height) // 2), -((width) // 2))
    axes = (values.ndim - 2, values.ndim - 1)
    found: np.ndarray = ndimage.maximum_filter(values, footprint=shape, origin=moved, mode="nearest", axes=axes)
    return found[..., :n_rows, :n_cols]


def _check(scores: np.ndarray, region: np.ndarray) -> None:
    if region.shape != scores.shape[-2:]:
        raise InputError("Region", f"the grid of the scores, {scores.shape[-2:]}", region.shape)
    if not region.any():
        raise InputError("Region", "at least one patch", "none")

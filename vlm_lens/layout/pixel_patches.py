"""Which patch each pixel of a picture belongs to: the way back from patches to pixels."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
from jaxtyping import Int

from vlm_lens.layout.patch_grid import PatchGrid
from vlm_lens.layout.pixel_geometry import PixelGeometry

UNSEEN = -1
"""The number of pixels that no patch saw: they were cropped away, or fell behind the last whole patch."""


def patches_of_pixels(geometry: PixelGeometry, grid: PatchGrid) -> Int[np.ndarray, "height width"]:
    """The number of the patch that the middle of each original pixel lies in, `UNSEEN` where it lies in none.

    A pixel that two patches share goes to the one that has its middle; on a boundary, to the lower or right one. The
    boundaries are fractions, so nothing drifts over the picture.

    Args:
        geometry: of the picture.
        grid: over the model's pixels.
    """
    height, width = geometry.original
    rows = _numbers(geometry.rows.to_original(grid.row_edges()), height)
    columns = _numbers(geometry.columns.to_original(grid.column_edges()), width)
    is_seen = (rows >= 0)[:, None] & (columns >= 0)[None, :]
    return np.where(is_seen, rows[:, None] * grid.n_cols + columns[None, :], UNSEEN)


def _numbers(edges: Sequence[Fraction], size: int) -> Int[np.ndarray, " size"]:
    """Of each pixel along an axis, the interval that its middle lies in."""
    # The first pixel whose middle, at k + 1/2, is not before an edge.
    first = [ceil(edge - Fraction(1, 2)) for edge in edges]
    found = np.searchsorted(np.array(first), np.arange(size), side="right") - 1
    return np.where((found >= 0) & (found < len(edges) - 1), found, UNSEEN)

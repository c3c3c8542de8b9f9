"""Every pixel belongs to the patch that has its middle, whatever was cropped, resized and padded."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.layout import PatchGrid, PixelGeometry, Resize, Window
from vlm_lens.layout.pixel_patches import UNSEEN, patches_of_pixels

sides = st.integers(1, 20)


def one_by_one(geometry: PixelGeometry, grid: PatchGrid) -> np.ndarray:
    """The same for each pixel's middle by itself, step by step through the geometry."""
    height, width = geometry.original
    found = np.full((height, width), UNSEEN)
    for y in range(height):
        for x in range(width):
            row, column, size = Fraction(2 * y + 1, 2), Fraction(2 * x + 1, 2), (height, width)
            for step in geometry.steps:
                if isinstance(step, Resize):
                    row, column = row * Fraction(step.height, size[0]), column * Fraction(step.width, size[1])
                else:
                    row, column = row - step.top, column - step.left
                size = step.height, step.width
            if 0 <= row < grid.height and 0 <= column < grid.width:
                found[y, x] = row // grid.patch_height * grid.n_cols + column // grid.patch_width
    return found


@given(height=sides, width=sides, side=st.integers(4, 30), patch=st.integers(1, 4), crops=st.booleans())
def test_a_pixel_belongs_to_the_patch_that_has_its_middle(
    height: int, width: int, side: int, patch: int, crops: bool
) -> None:
    square = min(height, width) if crops else max(height, width)
    window = Window((height - square) // 2, (width - square) // 2, square, square)
    geometry = PixelGeometry((height, width), (window, Resize(side, side)))
    grid = PatchGrid.over(side, side, patch)
    np.testing.assert_array_equal(patches_of_pixels(geometry, grid), one_by_one(geometry, grid))


@given(height=sides, width=sides, scale=st.integers(1, 5))
def test_a_pixel_that_one_patch_saw_alone_is_that_patch_s(height: int, width: int, scale: int) -> None:
    geometry = PixelGeometry((height, width), (Resize(6 * scale, 6 * scale),))
    grid = PatchGrid.over(6 * scale, 6 * scale, scale)
    numbers = patches_of_pixels(geometry, grid)
    for place in {(0, 0), (height // 2, width // 3), (height - 1, width - 1)}:
        mask = np.zeros((height, width), bool)
        mask[place] = True
        touched = np.flatnonzero(geometry.cover_patches(mask, grid))
        assert numbers[place] in touched


def test_cropped_pixels_are_in_no_patch_and_padding_adds_none() -> None:
    crop = PixelGeometry((4, 8), (Window(0, 2, 4, 4),))
    assert patches_of_pixels(crop, PatchGrid.over(4, 4, 2)).tolist() == [
        [-1, -1, 0, 0, 1, 1, -1, -1], [-1, -1, 0, 0, 1, 1, -1, -1],
        [-1, -1, 2, 2, 3, 3, -1, -1], [-1, -1, 2, 2, 3, 3, -1, -1],
    ]  # fmt: skip
    pad = PixelGeometry((2, 4), (Window(-1, 0, 4, 4),))
    assert patches_of_pixels(pad, PatchGrid.over(4, 4, 2)).tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


@pytest.mark.parametrize(("n", "expected"), [(3, [0, 0, -1]), (5, [0, 0, 1, 1, -1])])
def test_what_lies_behind_the_last_whole_patch_is_unseen(n: int, expected: list[int]) -> None:
    assert patches_of_pixels(PixelGeometry((n, n)), PatchGrid.over(n, n, 2))[0].tolist() == expected

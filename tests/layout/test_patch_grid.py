"""Patches and pixels, and growing over neighbours."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.errors import InputError
from vlm_lens.layout import PatchGrid

grids = st.builds(PatchGrid, *[st.integers(1, 8)] * 4)


@given(grids, st.integers(0, 2**32 - 1), st.integers(0, 10))
def test_dilation_holds_every_patch_within_reach_and_no_other(grid: PatchGrid, seed: int, n: int) -> None:
    patches = torch.rand(grid.shape, generator=torch.Generator().manual_seed(seed)) < 0.1
    members = patches.nonzero().tolist()
    expected = [
        [any(max(abs(row - r), abs(col - c)) <= n for r, c in members) for col in range(grid.n_cols)]
        for row in range(grid.n_rows)
    ]
    assert grid.dilate(patches, n).tolist() == expected


@given(grids)
def test_each_pixel_lies_in_the_box_of_its_patch(grid: PatchGrid) -> None:
    numbers = torch.arange(grid.n_patches).view(grid.shape)
    pixels = grid.to_pixels(numbers)
    assert pixels.shape == (grid.height, grid.width)
    for patch in range(grid.n_patches):
        top, left, bottom, right = grid.box(patch)
        assert (pixels[top:bottom, left:right] == patch).all()
        assert (pixels == patch).sum() == grid.patch_height * grid.patch_width
        assert grid.patch_at(bottom - 1, left) == patch


def test_a_remainder_of_pixels_belongs_to_no_patch() -> None:
    grid = PatchGrid.over(30, 29, 7)
    assert (grid.shape, grid.height, grid.width) == ((4, 4), 28, 28)
    with pytest.raises(InputError, match="outside the patch grid"):
        grid.patch_at(28, 0)


def test_an_empty_grid_and_a_missing_patch_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        PatchGrid.over(6, 28, 7)
    with pytest.raises(InputError, match="0 <= patch < 16"):
        PatchGrid(4, 4, 7, 7).box(16)
    with pytest.raises(InputError, match="only grow|0 or more"):
        PatchGrid(4, 4, 7, 7).dilate(torch.ones(4, 4, dtype=torch.bool), -1)

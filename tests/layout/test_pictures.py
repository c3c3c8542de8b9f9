"""Positions of pictures, as a vision tower and a projector count them."""

import numpy as np
import pytest
import torch

from vlm_lens.errors import PositionError
from vlm_lens.layout import ImageSpan, PatchGrid, Picture, PictureLayout, TokenLayout

GRID = PatchGrid(2, 3, 4, 4)


def two_rows() -> TokenLayout:
    """A row with two pictures, and a padded one with a single picture."""
    first = ["bos", *["image"] * 6, "question", *["image"] * 6, "question"]
    second = ["pad"] * 6 + ["bos", *["image"] * 6, "question", "question"]
    spans = [[ImageSpan(1, GRID), ImageSpan(8, GRID)], [ImageSpan(7, GRID)]]
    return TokenLayout.from_roles([first, second], spans)


def test_pictures_come_row_by_row() -> None:
    pictures = PictureLayout.of(two_rows(), 1)
    assert pictures is not None and pictures.shape == (3, 7)
    assert [(one.row, one.image) for one in pictures.pictures] == [(0, 0), (0, 1), (1, 0)]
    assert PictureLayout.of(TokenLayout.from_roles([["bos", "question"]]), 1) is None


@pytest.mark.parametrize("n_class_tokens", [0, 1])
def test_names_and_numbers_count_in_the_tower_s_own_sequence(n_class_tokens: int) -> None:
    pictures = PictureLayout.unknown(2, GRID, n_class_tokens)
    patches = tuple(range(n_class_tokens, n_class_tokens + 6))
    assert pictures.positions("cls") == tuple(range(n_class_tokens))
    assert pictures.positions("patches") == pictures.positions("image") == patches
    assert pictures.positions("last_row") == patches[-3:]
    assert pictures.positions("all") == pictures.positions(slice(None)) == tuple(range(n_class_tokens + 6))
    assert pictures.positions(-1) == patches[-1:]
    assert pictures.positions({1: 0}, 0) == () and pictures.positions({1: 0}, 1) == (0,)


def test_a_region_means_its_own_picture_alone() -> None:
    layout = two_rows()
    pictures = PictureLayout.of(layout, 1)
    assert pictures is not None
    region = layout.patches(rows=1, image=1)
    expected = torch.zeros(3, 7, dtype=torch.bool)
    expected[1, 4:] = True
    assert torch.equal(pictures.mask(region), expected)
    assert torch.equal(pictures.with_class_tokens(0).mask(region), expected[:, 1:])
    both = pictures.mask([region, layout.patches(rows=0, cols=0, row=1)])
    expected[2, 1] = True
    assert torch.equal(both, expected)


def test_a_region_of_pixels_alone_is_known_by_its_row() -> None:
    region = two_rows().patches(cols=0, row=1)
    assert PictureLayout.unknown(2, GRID, 0).positions(region, 1) == (0, 3)
    with pytest.raises(PositionError, match="Region belongs to another picture: expected a region of row 0, image 0"):
        PictureLayout.unknown(1, GRID, 0).mask(region)


def test_a_region_of_another_place_or_grid_is_refused() -> None:
    pictures = PictureLayout((Picture(ImageSpan(1, GRID)),), GRID)
    moved = TokenLayout.from_roles([["bos", "bos", *["image"] * 6]], [[ImageSpan(2, GRID)]]).patches()
    with pytest.raises(PositionError, match="at position 2"):
        pictures.mask(moved)
    turned = PatchGrid(3, 2, 4, 4)
    other = TokenLayout.from_roles([["bos", *["image"] * 6]], [[ImageSpan(1, turned)]]).patches()
    with pytest.raises(PositionError, match="another picture"):
        PictureLayout.unknown(1, GRID, 0).mask(other)


def test_the_decoder_s_names_are_no_names_of_a_picture() -> None:
    with pytest.raises(PositionError, match="expected one of cls, patches, image, last_row, all, got 'last'"):
        PictureLayout.unknown(1, GRID, 0).mask("last")


def test_a_mask_of_patches_alone_does_not_fit_beside_a_class_token() -> None:
    with pytest.raises(PositionError, match="Mask of positions does not match the sequence"):
        PictureLayout.unknown(1, GRID, 1).mask(np.ones(6, dtype=bool))


@pytest.mark.parametrize("n_class_tokens, counted", [(0, "here: 6 patches"), (1, "here: a class token and 6 patches")])
def test_numbers_of_the_decoder_are_refused_with_how_a_picture_counts(n_class_tokens: int, counted: str) -> None:
    pictures, n = PictureLayout.unknown(1, GRID, n_class_tokens), 6 + n_class_tokens
    for selector in (range(4, 10), slice(4, 10), slice(20, None), 12):
        with pytest.raises(PositionError, match=f"own positions {counted}.*'image' or a region"):
            pictures.mask(selector)
    assert pictures.positions(slice(4, n)) == pictures.positions(range(4, n)) == tuple(range(4, n))


def test_a_word_of_the_text_is_nowhere_in_a_picture() -> None:
    with pytest.raises(PositionError, match="An object in the picture is layout.region"):
        PictureLayout.unknown(1, GRID, 0).mask("cat")

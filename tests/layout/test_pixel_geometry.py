"""A mask takes the same way as the pixels, checked against the real processors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import CLIPImageProcessorPil

from tests.layout.real_processors import BOX, PROCESSORS, pixels_through
from vlm_lens.errors import InputError
from vlm_lens.layout import PatchGrid, PixelGeometry, Resize, Window, geometry_of

names = st.sampled_from(sorted(PROCESSORS))
sides = st.integers(1, 120)
seeds = st.integers(0, 2**32 - 1)


def by_repetition(mask: np.ndarray, geometry: PixelGeometry) -> np.ndarray:
    """The coverage computed the slow way: repeat every pixel, then average whole blocks."""
    values = mask.astype(float)
    for step in geometry.steps:
        height, width = values.shape
        if isinstance(step, Resize):
            values = values.repeat(step.height, 0).repeat(step.width, 1)
            blocks = values.reshape(step.height, height, step.width, width)
            values = blocks.mean(axis=(1, 3))
        else:
            window = np.zeros((step.height, step.width))
            for y in range(step.height):
                for x in range(step.width):
                    if 0 <= y + step.top < height and 0 <= x + step.left < width:
                        window[y, x] = values[y + step.top, x + step.left]
            values = window
    return values


def blob(height: int, width: int, seed: int) -> np.ndarray:
    """A mask with large and small parts."""
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < 0.02
    for _ in range(3):
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : top + height // 3 + 1, left : left + width // 3 + 1] = True
    return mask


def dilated(mask: np.ndarray, reach: list[int]) -> np.ndarray:
    """True wherever a True pixel lies within `reach` (rows, columns)."""
    wide = np.pad(mask, [(r, r) for r in reach])
    windows = np.lib.stride_tricks.sliding_window_view(wide, [2 * r + 1 for r in reach])
    return windows.any(axis=(2, 3))


@given(name=names, height=sides, width=sides)
@example(name="clip", height=1, width=900)
@example(name="clip", height=900, width=1)
@example(name="siglip", height=1, width=1)
@example(name="llava pads to a square", height=7, width=2000)
@example(name="a crop larger than the picture", height=2000, width=11)
@settings(max_examples=60)
def test_the_geometry_ends_at_the_size_that_the_processor_gives(name: str, height: int, width: int) -> None:
    processor = PROCESSORS[name]()
    try:
        geometry = geometry_of(processor, (height, width))
    except InputError:
        # The processor itself shrinks such a picture to nothing, and fails.
        with pytest.raises(ValueError):
            pixels_through(processor, np.zeros((height, width, 3), np.uint8))
        return
    pixels = pixels_through(processor, np.zeros((height, width, 3), np.uint8))
    assert pixels.shape[:2] == geometry.model_size


@given(name=names, height=st.integers(2, 200), width=st.integers(2, 200))
@example(name="clip", height=1, width=250)
@example(name="siglip", height=250, width=3)
@settings(max_examples=80)
def test_every_pixel_shows_the_place_that_the_geometry_says(name: str, height: int, width: int) -> None:
    """A picture whose colours are its coordinates: what arrives at a pixel says where it was."""
    processor = PROCESSORS[name]()
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(height)[:, None]
    picture[..., 1] = np.arange(width)[None, :]
    picture[..., 2] = 255
    try:
        geometry = geometry_of(processor, (height, width))
    except InputError:
        return
    pixels = pixels_through(processor, picture)
    # Padding is where the geometry says, to the pixel; a resize after it softens its border.
    seen = geometry.push_mask(np.ones((height, width), bool))
    shown = pixels[..., 2]
    if any(isinstance(step, Resize) for step in geometry.steps[1:]):
        assert (seen[shown == 255] > 0).all() and (seen[shown == 0] < 1).all()
    else:
        np.testing.assert_array_equal(shown == 255, seen == 1)
        np.testing.assert_array_equal(shown == 0, seen == 0)
    for axis, (axis_map, size) in enumerate([(geometry.rows, height), (geometry.columns, width)]):
        edges = np.array(axis_map.to_original(range(geometry.model_size[axis] + 1)), dtype=float)
        centres = (edges[1:] + edges[:-1]) / 2 - 0.5
        # A bilinear filter returns a ramp unchanged where it does not reach over the border.
        reach = max(1.0, float(axis_map.scale)) + 1
        inside = (centres >= reach) & (centres <= size - 1 - reach)
        colours = np.moveaxis(pixels[..., axis], axis, 0)
        for k in np.flatnonzero(inside):
            of_picture = colours[k][np.moveaxis(shown == 255, axis, 0)[k]]
            tolerance = 1.0 + 0.05 * float(axis_map.scale)  # rounding, twice; uneven filter taps
            assert np.abs(of_picture - centres[k]).max(initial=0) <= tolerance


@given(name=names, height=sides, width=sides, seed=seeds)
@example(name="clip", height=33, width=61, seed=0)
@example(name="an odd crop", height=61, width=33, seed=1)
@settings(max_examples=60)
def test_a_painted_mask_appears_in_the_patches_that_the_region_has(
    name: str, height: int, width: int, seed: int
) -> None:
    """Patches out of the mask's reach stay black, patches deep inside it are white."""
    processor = PROCESSORS[name]()
    mask = blob(height, width, seed)
    try:
        geometry = geometry_of(processor, (height, width))
    except InputError:
        return
    if min(geometry.model_size) < 7:
        return
    pixels = pixels_through(processor, np.repeat(mask[..., None] * np.uint8(255), 3, axis=-1))
    grid = PatchGrid.over(*geometry.model_size, 7)
    painted = pixels[: grid.height, : grid.width, 0]
    patches = painted.reshape(grid.n_rows, 7, grid.n_cols, 7)
    # The resampling filter looks this many original pixels around itself.
    axes = (geometry.rows, geometry.columns)
    reach = [int(np.ceil(max(1, float(axis.scale)))) + 1 for axis in axes]
    near = dilated(mask, reach)
    far_from_mask = geometry.cover_patches(near, grid) == 0
    assert (patches.max(axis=(1, 3))[far_from_mask] == 0).all()
    near_outside = dilated(~mask, reach)
    seen_whole = geometry.cover_patches(np.ones_like(mask), grid) == 1
    deep_inside = seen_whole & (geometry.cover_patches(near_outside, grid) == 0)
    assert (patches.min(axis=(1, 3))[deep_inside] == 255).all()


@given(factor=st.integers(1, 6), seed=seeds)
@settings(max_examples=20)
def test_coverage_is_the_picture_averaged_when_the_filter_is_a_box(factor: int, seed: int) -> None:
    """To the rounding of the filter's two passes."""
    processor = PROCESSORS["siglip"](resample=BOX)
    mask = blob(28 * factor, 21 * factor, seed)
    pixels = pixels_through(processor, np.repeat(mask[..., None] * np.uint8(255), 3, axis=-1))
    coverage = geometry_of(processor, mask.shape).push_mask(mask)
    np.testing.assert_allclose(coverage, pixels[..., 0] / 255, atol=1 / 255 + 1e-9)


@given(name=names, height=st.integers(1, 40), width=st.integers(1, 40), seed=seeds)
@settings(max_examples=60)
def test_coverage_equals_repeating_pixels_and_averaging_blocks(name: str, height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    try:
        geometry = geometry_of(PROCESSORS[name](), (height, width))
    except InputError:
        return
    expected = by_repetition(mask, geometry)
    coverage = geometry.push_mask(mask)
    np.testing.assert_allclose(coverage, expected, atol=1e-9)
    # "Any overlap" must not be a matter of rounding.
    np.testing.assert_array_equal(coverage > 0, expected > 0)
    if min(geometry.model_size) >= 7:
        grid = PatchGrid.over(*geometry.model_size, 7)
        blocks = expected[: grid.height, : grid.width].reshape(grid.n_rows, 7, grid.n_cols, 7)
        patches = geometry.cover_patches(mask, grid)
        np.testing.assert_allclose(patches, blocks.mean(axis=(1, 3)), atol=1e-9)
        np.testing.assert_array_equal(patches > 0, blocks.max(axis=(1, 3)) > 0)


@given(name=names, height=sides, width=sides, seed=seeds)
@settings(max_examples=40)
def test_a_patch_overlaps_a_pixel_exactly_when_its_box_does(name: str, height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    y, x = int(random.integers(height)), int(random.integers(width))
    mask = np.zeros((height, width), bool)
    mask[y, x] = True
    try:
        geometry = geometry_of(PROCESSORS[name](), (height, width))
    except InputError:
        return
    if min(geometry.model_size) < 7:
        return
    grid = PatchGrid.over(*geometry.model_size, 7)
    top, left, bottom, right = np.moveaxis(geometry.patch_boxes(grid), -1, 0)
    tiny = 1e-9  # boxes are floats, coverage is exact
    overlaps = (top < y + 1 - tiny) & (bottom > y + tiny) & (left < x + 1 - tiny) & (right > x + tiny)
    np.testing.assert_array_equal(geometry.cover_patches(mask, grid) > 0, overlaps)


def test_boxes_are_clipped_to_the_picture_and_empty_over_padding() -> None:
    geometry = PixelGeometry((10, 40), (Window(-15, 0, 40, 40),))
    boxes = geometry.patch_boxes(PatchGrid(4, 4, 10, 10))
    assert boxes[0, 0].tolist() == [0, 0, 0, 10]
    assert boxes[1, 2].tolist() == [0, 20, 5, 30]
    assert boxes[3, 3].tolist() == [10, 30, 10, 40]


def test_half_a_patch_in_padding_is_at_most_half_covered() -> None:
    geometry = PixelGeometry((10, 40), (Window(-15, 0, 40, 40),))
    coverage = geometry.cover_patches(np.ones((10, 40), bool), PatchGrid(4, 4, 10, 10))
    assert coverage[:, 0].tolist() == [0, 0.5, 0.5, 0]


@given(height=sides, width=sides, y=st.floats(0, 1), x=st.floats(0, 1))
def test_points_go_to_the_model_and_come_back(height: int, width: int, y: float, x: float) -> None:
    geometry = geometry_of(PROCESSORS["clip"](), (height, width))
    model_y, model_x = geometry.to_model(y * height, x * width)
    back_y = float(geometry.rows.scale) * model_y + float(geometry.rows.offset)
    assert back_y == pytest.approx(y * height, abs=1e-6)
    assert float(geometry.columns.scale) * model_x + float(geometry.columns.offset) == pytest.approx(
        x * width, abs=1e-6
    )


def test_the_way_of_a_llava_picture_is_crop_after_resize() -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=336)
    geometry = geometry_of(processor, (480, 640))
    assert geometry.steps == (Resize(336, 448), Window(0, 56, 336, 336))
    assert geometry.columns.scale == Fraction(640, 448)
    assert geometry.patch_boxes(PatchGrid(24, 24, 14, 14))[0, 0].tolist() == [0, 80, 20, 100]


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    geometry = geometry_of(PROCESSORS["clip"](), (30, 40))
    with pytest.raises(InputError, match=r"expected 30 x 40 .* got 40 x 30"):
        geometry.push_mask(np.ones((40, 30), bool))


def test_a_picture_that_shrinks_to_nothing_is_refused() -> None:
    processor = PROCESSORS["inside a box, then padded"]()
    with pytest.raises(InputError, match="began as 1 x 4000"):
        geometry_of(processor, (1, 4000))

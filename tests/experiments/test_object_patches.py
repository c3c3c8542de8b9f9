"""The patches of an object, exactly and as a published code drew them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.experiments.described_scenes import demo
from vlm_lens.data import Annotation, read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.object_patches import drifting_patches, object_region, patch_boxes
from vlm_lens.layout import ImageSpan, PatchGrid, PixelGeometry, Resize

GRID = PatchGrid(4, 4, 8, 8)


def masked(mask: np.ndarray, *polygons: list[list[float]]) -> Annotation:
    corners = tuple(np.array(polygon, float) for polygon in polygons)
    return Annotation("cat", float(mask.sum()), lambda: mask, read_polygons=lambda: corners)


def pixel(size: tuple[int, int], row: int, col: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[row, col] = True
    return mask


def span_of(height: int, width: int) -> ImageSpan:
    inputs = demo().prepare(Image.new("RGB", (width, height)), "?")
    return inputs.layout.image_span()


def test_every_patch_that_saw_a_pixel_of_the_object_is_its_own() -> None:
    scene = read_scenes(1)[0]
    span = span_of(192, 192)
    for annotation in scene.annotations:
        found = object_region(span, annotation, "exact")
        naive = {
            row * 12 + col
            for row in range(12)
            for col in range(12)
            if annotation.mask[16 * row : 16 * row + 16, 16 * col : 16 * col + 16].any()
        }
        assert found.patch_ids == naive
        # 192 pixels are 12 whole patches: nothing is rounded, and both geometries are one.
        assert object_region(span, annotation, "drifting").patch_ids == naive


def test_a_grid_of_rounded_down_patches_drifts_and_loses_the_rest() -> None:
    # 23 pixels in 4 patches: 5.75 each, 5 rounded down. Pixel 16 lies in patch 2 (11.5 to 17.25), by the code in 3.
    size = (23, 23)
    geometry = PixelGeometry(size, (Resize(GRID.height, GRID.width),))
    assert np.argwhere(geometry.cover_patches(pixel(size, 16, 0), GRID)).tolist() == [[2, 0]]
    assert np.argwhere(drifting_patches(masked(pixel(size, 16, 0)), size, GRID)).tolist() == [[3, 0]]
    assert not drifting_patches(masked(pixel(size, 0, 22)), size, GRID).any()
    assert np.argwhere(drifting_patches(masked(pixel(size, 4, 4)), size, GRID)).tolist() == [[0, 0]]


def test_the_two_geometries_differ_where_pixels_do_not_divide_and_agree_where_they_do() -> None:
    for side, differs in ((180, False), (191, True)):
        span = span_of(side, side)
        corner = masked(pixel((side, side), side - 1, side - 1))
        exact, drifting = (object_region(span, corner, geometry).patch_ids for geometry in ("exact", "drifting"))
        assert exact == {143}
        assert (drifting != exact) is differs


def test_corners_outside_of_the_crop_are_dropped_and_the_rest_is_closed() -> None:
    # 40 x 80: the crop is columns 20 to 59. A rectangle from column 10 to 50 loses its left corners.
    size, rectangle = (40, 80), [[10.0, 5.0], [50.0, 5.0], [50.0, 35.0], [10.0, 35.0]]
    mask = np.zeros(size, bool)
    mask[5:36, 10:51] = True
    annotation = masked(mask, rectangle)
    assert not drifting_patches(annotation, size, GRID).any()  # two corners are no polygon
    five = masked(mask, [*rectangle[:3], [30.0, 35.0], [10.0, 35.0]])
    found = drifting_patches(five, size, GRID)
    assert found[0, 3] and found[3, 1] and not found[0, 0]  # a triangle is left
    inside = masked(mask, [[25.0, 5.0], [50.0, 5.0], [50.0, 35.0], [25.0, 35.0]])
    without_corners = np.zeros(size, bool)
    without_corners[5:36, 25:51] = True
    assert np.array_equal(drifting_patches(inside, size, GRID), drifting_patches(masked(without_corners), size, GRID))


def test_an_object_that_the_crop_cut_away_has_no_patches() -> None:
    span = span_of(96, 300)
    for geometry in ("exact", "drifting"):
        assert not object_region(span, masked(pixel((96, 300), 50, 3)), geometry)


@pytest.mark.parametrize("geometry", ["exact", "drifting"])
def test_a_patchs_pixels_are_those_that_make_it_the_objects(geometry: str) -> None:
    span = span_of(100, 140)
    boxes = patch_boxes(span, geometry)
    assert len(boxes) == 144
    for patch in (0, 17, 130):
        top, left, bottom, right = boxes[patch]
        inside = masked(pixel((100, 140), (top + bottom) // 2, (left + right) // 2))
        assert patch in object_region(span, inside, geometry)


@pytest.mark.parametrize(
    ("span", "geometry", "message"),
    [
        (lambda: span_of(96, 96), "round", "'exact' or 'drifting'"),
        (lambda: ImageSpan(0, GRID), "exact", "made from a picture"),
        (lambda: span_of(9, 9), "drifting", "at least 12 pixels a side"),
    ],
)
def test_what_has_no_patches_is_refused(span: Any, geometry: str, message: str) -> None:
    given = span()
    size = given.original_size or (1, 1)
    with pytest.raises(InputError, match=message):
        object_region(given, masked(pixel(size, 0, 0)), geometry)

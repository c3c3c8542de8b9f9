"""Masks of COCO's three forms, equal to pycocotools and to pixels known by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as run_length
from pycocotools.coco import COCO

from vlm_lens.data.coco.segmentation import decode_mask, mask_area
from vlm_lens.errors import InputError


def mask_of(segmentation: Any, height: int = 4, width: int = 3) -> np.ndarray:
    return decode_mask(segmentation, height, width, "annotation 1")


def compressed(mask: np.ndarray) -> dict[str, Any]:
    found = run_length.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode("ascii")}


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, off first, counted one pixel at a time."""
    runs, now = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != now:
            runs.append(0)
            now = not now
        runs[-1] += 1
    return runs


def test_run_lengths_go_down_the_columns_and_begin_off_the_object() -> None:
    mask = mask_of({"counts": [1, 2, 3, 4, 2], "size": [4, 3]})
    expected = [[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert mask.dtype == bool
    assert mask.astype(int).tolist() == expected


def test_a_polygon_covers_the_pixels_inside_it() -> None:
    mask = mask_of([[1, 1, 5, 1, 5, 3, 1, 3]], 6, 8)
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:3, 1:5] = True
    assert np.array_equal(mask, expected)


def test_several_polygons_are_one_mask() -> None:
    left, right = [0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 2, 4, 2]
    both = mask_of([left, right], 6, 8)
    assert np.array_equal(both, mask_of([left], 6, 8) | mask_of([right], 6, 8))
    assert mask_area([left, right], 6, 8, "it") == both.sum() == 8


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_form_of_every_mask_gives_its_pixels_back(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = data.draw(st.integers(0, 2**32)), data.draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    mask = np.random.default_rng(seed).random((height, width)) < share
    text = compressed(mask)
    listed = {"size": [height, width], "counts": runs_of(mask)}
    for segmentation in (text, text | {"counts": text["counts"].encode()}, listed):
        assert np.array_equal(mask_of(segmentation, height, width), mask)
        assert mask_area(segmentation, height, width, "it") == mask.sum()


def test_runs_of_no_length_are_no_damage() -> None:
    """Encoders may write them, and then the text is not the shortest there is."""
    listed = {"counts": [0, 2, 0, 3, 7], "size": [4, 3]}
    text = run_length.frPyObjects(listed, 4, 3)
    expected = np.arange(12).reshape(3, 4).T < 5
    assert np.array_equal(mask_of(listed), expected)
    assert np.array_equal(mask_of(text), expected)


# numpy says it of pycocotools' own decoder.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_all_forms_are_those_of_pycocotools() -> None:
    coco = COCO()
    coco.imgs = {1: {"id": 1, "height": 30, "width": 40}}
    random = np.random.default_rng(0)
    blob = np.kron(random.random((6, 8)) < 0.4, np.ones((5, 5))).astype(bool)
    polygons = [(random.random(2 * n) * 45 - 3).tolist() for n in (3, 5, 9)]
    for segmentation in ([polygons[0]], polygons, compressed(blob), {"size": [30, 40], "counts": runs_of(blob)}):
        expected = coco.annToMask({"image_id": 1, "segmentation": segmentation}).astype(bool)
        assert expected.any()
        assert np.array_equal(mask_of(segmentation, 30, 40), expected)


@pytest.mark.parametrize(
    "counts",
    [
        [5, 5],  # pycocotools would leave two pixels as they were in memory
        [5, 8],
        [-1, 13],
        ["5", "7"],
        [2**40, 7],
        [],
        "",
        "abc",
        "55",
        "P",  # a number that does not end
        "\x01\x02",
        "\u00e9",
        "o" * 20 + "0",
        None,
        7,
    ],
)
def test_run_lengths_that_do_not_fill_the_picture_are_refused(counts: Any) -> None:
    with pytest.raises(InputError, match=r"Mask of annotation 1: expected run lengths that add up to 4 x 3 = 12"):
        mask_of({"counts": counts, "size": [4, 3]})


@pytest.mark.parametrize(
    "polygon", [[1, 2], [1, 2, 3, 4], [1, 1, 1, 3, 3, 3, 3], [1, 1, "3", 3, 3, 1], [1, 1, float("nan"), 3, 3, 1], 7, []]
)
def test_a_polygon_that_is_none_is_refused(polygon: Any) -> None:
    with pytest.raises(InputError, match="at least 3 corners"):
        mask_of([polygon])


@pytest.mark.parametrize("nothing", [None, [], "mask", 3])
def test_an_annotation_without_a_mask_says_so_when_it_is_read(nothing: Any) -> None:
    with pytest.raises(InputError, match="expected polygons, or run lengths"):
        mask_of(nothing)

"""COCO's three forms of a mask, and their pixels: polygons are filled by pycocotools.

Polygons `[[x, y, x, y, ...], ...]` in pixels, run lengths as a list `{"counts": [12, 3], "size": [height, width]}`, and
run lengths as COCO's compressed text. Runs go down the columns and begin with the pixels off the object.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from pycocotools import mask as from_polygons

from vlm_lens.errors import InputError

MIN_CORNERS = 3
_BITS = 5  # of a run length, in one character of the compressed text
_FIRST_CHARACTER = 48


def decode_mask(segmentation: Any, height: int, width: int, what: str) -> Bool[np.ndarray, "height width"]:
    """The pixels of a mask, True on the object.

    Args:
        segmentation: in one of the three forms.
        height: of the picture, in pixels.
        width: likewise.
        what: whose mask it is, for the error.

    Raises:
        InputError: see `run_lengths`.
    """
    runs = run_lengths(segmentation, height, width, what)
    is_on = np.arange(len(runs)) % 2 == 1
    columns = rearrange(np.repeat(is_on, runs), "(width height) -> height width", height=height)
    return np.ascontiguousarray(columns)


def mask_area(segmentation: Any, height: int, width: int, what: str) -> float:
    """The pixels of a mask, counted.

    Raises:
        InputError: see `run_lengths`.
    """
    return float(run_lengths(segmentation, height, width, what)[1::2].sum())


def outlines(segmentation: Any, what: str) -> tuple[Float[np.ndarray, "corner 2"], ...]:
    """The corners of a mask's polygons, x and y in pixels; none of a mask that is run lengths.

    Args:
        segmentation: in one of the three forms.
        what: whose mask it is, for the error.

    Raises:
        InputError: a polygon that is none.
    """
    if not isinstance(segmentation, list):
        return ()
    return tuple(np.asarray(_corners(polygon, what), np.float64).reshape(-1, 2) for polygon in segmentation)


def run_lengths(segmentation: Any, height: int, width: int, what: str) -> Int64[np.ndarray, " run"]:
    """A mask of any form as run lengths: pixels off the object, on it, off it, ...

    They fill the picture exactly. That is looked at here, since pycocotools takes lengths that do not, and leaves the
    pixels that they do not reach as they were in memory.

    Raises:
        InputError: no mask, a polygon that is none, run lengths that do not fill the picture.
    """
    if isinstance(segmentation, Mapping):
        runs = _runs(segmentation.get("counts"))
    elif isinstance(segmentation, list) and segmentation:
        polygons = [_corners(polygon, what) for polygon in segmentation]
        runs = _runs(from_polygons.merge(from_polygons.frPyObjects(polygons, height, width))["counts"])
    else:
        expected = "polygons, or run lengths with `counts` and `size`"
        raise InputError(f"Mask of {what}", expected, repr(segmentation), "A box alone says no pixels.")
    if runs is None or (runs < 0).any() or runs.sum() != height * width:
        expected = f"run lengths that add up to {height} x {width} = {height * width}"
        got = "no run lengths" if runs is None else f"lengths from {runs.min(initial=0)} on that add up to {runs.sum()}"
        raise InputError(f"Mask of {what}", expected, got, "The annotation is damaged.")
    return runs


def _corners(polygon: Any, what: str) -> list[float]:
    is_flat = isinstance(polygon, list) and all(isinstance(one, int | float) for one in polygon)
    if not is_flat or len(polygon) < 2 * MIN_CORNERS or len(polygon) % 2 or not np.isfinite(polygon).all():
        expected = f"polygons [x, y, x, y, ...] of at least {MIN_CORNERS} corners"
        raise InputError(f"Mask of {what}", expected, f"{str(polygon)[:80]}")
    return [float(one) for one in polygon]


def _runs(counts: Any) -> Int64[np.ndarray, " run"] | None:
    """Run lengths as numbers; None for what are none."""
    if isinstance(counts, list):
        is_numbers = all(isinstance(one, int) and abs(one) < 2**32 for one in counts)
        return np.asarray(counts, dtype=np.int64) if is_numbers else None
    if not isinstance(counts, str | bytes) or not counts:
        return None
    characters = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    return _decompressed(np.frombuffer(characters, np.uint8).astype(np.int64) - _FIRST_CHARACTER)


def _decompressed(codes: Int64[np.ndarray, " character"]) -> Int64[np.ndarray, " run"] | None:
    """Numbers of five bits a character, lowest first; the sixth bit says that more follow, the last bit is the sign.

    From the fourth number on, each is the difference from the one two before it.
    """
    if ((codes < 0) | (codes >= 64)).any() or codes[-1] & 32:
        return None
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    n_characters = ends - starts + 1
    if n_characters.max() > 7:  # 35 bits; a picture has no run of 32
        return None
    places = np.arange(len(codes)) - np.repeat(starts, n_characters)
    numbers = np.add.reduceat((codes & 31) << (_BITS * places), starts)
    numbers = np.where(codes[ends] & 16, numbers - (1 << (_BITS * n_characters)), numbers)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers

"""The part of a picture that the model saw, sharp: the original's pixels under the patch grid."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vlm_lens.errors import PositionError
from vlm_lens.layout import ImageSpan, Region
from vlm_lens.plotting.patch_picture import LONGEST_SIDE, PatchPicture

OUTSIDE = (128, 128, 128)
"""Where the grid reaches beyond the picture, as with padding."""


def patch_picture(span: ImageSpan, picture: Image.Image | None = None, region: Any = None) -> PatchPicture:
    """What lies under a map over a picture's patches: what the model saw, or a blank where that is unknown.

    Args:
        span: the image's place in a sequence.
        picture: the picture as opened, RGB.
        region: the patches to outline.

    Raises:
        PositionError: a region of another picture, or none at all.
    """
    if region is not None:
        check_is_of(region, span)
    outlined = None if region is None else region.patches.numpy()
    if picture is None or span.geometry is None:
        blank = np.full((*span.grid.shape, 3), OUTSIDE, dtype=np.uint8)
        return PatchPicture(blank, *span.grid.shape, outlined)
    return PatchPicture(seen_picture(picture, span), *span.grid.shape, outlined)


def check_is_of(region: Any, span: ImageSpan) -> None:
    """Raise for what is no region of a picture; where in the sequence that stands is of no account.

    Raises:
        PositionError: a region of another picture, or something else.
    """
    if not isinstance(region, Region):
        advice = "Make one: layout.region(mask), layout.patches(rows, cols)."
        raise PositionError("Region of a picture", "a Region", f"{type(region).__name__} {region!r}", advice)
    is_known = bool(span.fingerprint)  # pixels alone tell no picture from another
    if region.span.grid != span.grid or is_known and _picture(region.span) != _picture(span):
        raise PositionError(
            "Region belongs to another picture",
            f"a region of picture {span.fingerprint or '?'}, {span.grid.n_rows} x {span.grid.n_cols} patches",
            f"{region!r} of picture {region.span.fingerprint or '?'}",
            "To mean the same patches of this picture, move it: region.on(layout.image_span(), row=..., image=...).",
        )


def _picture(span: ImageSpan) -> tuple[object, ...]:
    return span.fingerprint, span.geometry


def seen_picture(picture: Image.Image, span: ImageSpan) -> UInt8[np.ndarray, "height width 3"]:
    """What the patch grid covers of the original, at the original's resolution where that is useful.

    The grid's corners are carried back through the processor's crop, pad and resize, so patch (r, c)
    saw exactly row r and column c of an even n_rows x n_cols division of the result.

    Args:
        picture: the picture as opened, RGB.
        span: the image's place in a sequence, with its geometry.
    """
    geometry, grid = span.geometry, span.grid
    assert geometry is not None, "a prepared picture knows its geometry"
    top, bottom = (float(edge) for edge in geometry.rows.to_original([0, grid.height]))
    left, right = (float(edge) for edge in geometry.columns.to_original([0, grid.width]))
    cell = max(1, round(min(LONGEST_SIDE, max(bottom - top, right - left)) / max(grid.shape)))
    width, height = grid.n_cols * cell, grid.n_rows * cell
    x_scale, y_scale = width / (right - left), height / (bottom - top)
    seen = Image.new("RGB", (width, height), OUTSIDE)
    box = (max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height))
    place = (
        round((box[0] - left) * x_scale),
        round((box[1] - top) * y_scale),
        round((box[2] - left) * x_scale),
        round((box[3] - top) * y_scale),
    )
    size = (max(1, place[2] - place[0]), max(1, place[3] - place[1]))
    part = picture.resize(size, Image.Resampling.LANCZOS, box=box)
    seen.paste(part, place[:2])
    return np.asarray(seen).copy()

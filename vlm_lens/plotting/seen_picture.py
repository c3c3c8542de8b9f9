"""The part of a picture that the model saw, sharp: the original's pixels under the patch grid."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vlm_lens.layout import ImageSpan, Region
from vlm_lens.plotting.patch_picture import LONGEST_SIDE, PatchPicture

OUTSIDE = (128, 128, 128)
"""Where the grid reaches beyond the picture, as with padding."""


def patch_picture(span: ImageSpan, picture: Image.Image | None = None, region: Region | None = None) -> PatchPicture:
    """What lies under a map over a picture's patches: what the model saw, or a blank where that is unknown.

    Args:
        span: the image's place in a sequence.
        picture: the picture as opened, RGB.
        region: the patches to outline.
    """
    outlined = None if region is None else region.patches.numpy()
    if picture is None or span.geometry is None:
        blank = np.full((*span.grid.shape, 3), OUTSIDE, dtype=np.uint8)
        return PatchPicture(blank, *span.grid.shape, outlined)
    return PatchPicture(seen_picture(picture, span), *span.grid.shape, outlined)


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

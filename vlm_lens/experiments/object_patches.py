"""The patches of an annotated object: exactly, or as a published code drew them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from vlm_lens.data import Annotation
from vlm_lens.errors import InputError
from vlm_lens.experiments.options import Options, option
from vlm_lens.layout import ImageSpan, PatchGrid, Region


@dataclass(frozen=True)
class ObjectPatchesOptions(Options):
    """What can be chosen about which patches are an object's."""

    geometry: str = option(
        "exact",
        "which patches are the object's: 'exact' for all that saw one of its pixels, 'drifting' for the paper's code",
        among=("exact", "drifting"),
        paper="drifting",
        quirk="Corners of a polygon that lie outside of the crop are dropped, so that its outline changes, and the "
        "size of a patch in pixels is rounded down, so that the grid drifts by up to 23 pixels towards the right and "
        "the bottom. By default the mask takes the way of the pixels, exactly.",
    )


def object_region(span: ImageSpan, annotation: Annotation, geometry: str, row: int = 0) -> Region:
    """The patches that saw some of an object; none of an object that the crop cut away.

    Args:
        span: where the picture stands, with its geometry.
        annotation: the object.
        geometry: "exact" takes the mask the way of the pixels, "drifting" is `drifting_patches`.
        row: of the batch.

    Raises:
        InputError: another geometry, or a picture whose own pixels are unknown.
    """
    if span.geometry is None:
        raise InputError("Patches of an object", "inputs that were made from a picture", "pixels alone")
    if geometry == "exact":
        patches = span.geometry.cover_patches(annotation.mask, span.grid) > 0
    elif geometry == "drifting":
        patches = drifting_patches(annotation, span.geometry.original, span.grid)
    else:
        raise InputError("Option 'geometry'", "'exact' or 'drifting'", repr(geometry))
    return Region(span, row, frozenset(np.flatnonzero(patches).tolist()))


def patch_boxes(span: ImageSpan, geometry: str) -> list[tuple[int, int, int, int]]:
    """For each patch the pixels of the original that belong to it: (top, left, bottom, right), the last two excluded.

    Args:
        span: where the picture stands, with its geometry.
        geometry: see `object_region`. Exact boxes are rounded outwards, so that neighbours may share a line.
    """
    assert span.geometry is not None
    if geometry == "exact":
        boxes = span.geometry.patch_boxes(span.grid).reshape(-1, 4)
        outwards = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(int)
        return [(top, left, bottom, right) for top, left, bottom, right in outwards.tolist()]
    top, left, _ = centre_crop(span.geometry.original)
    height, width = _cell(span.geometry.original, span.grid)
    places = [divmod(patch, span.grid.n_cols) for patch in range(span.grid.n_patches)]
    return [
        (top + row * height, left + col * width, top + (row + 1) * height, left + (col + 1) * width)
        for row, col in places
    ]


def drifting_patches(
    annotation: Annotation, size: tuple[int, int], grid: PatchGrid
) -> Bool[np.ndarray, "patch_row patch_col"]:
    """The patches of an object as the authors' code has them, over the centre crop of the original picture.

    Corners of a polygon outside of the crop are dropped, and the outline is closed over the rest; a mask that is no
    polygon is cropped. A patch has `crop // n` pixels a side, so that patch i begins i times the rounding too early,
    and up to `n - 1` pixels at the right and the bottom belong to no patch.

    Args:
        annotation: the object.
        size: height and width of the original in pixels.
        grid: of patches.

    Source: Neo et al., "Towards Interpreting Visual Information Processing in Vision-Language Models", 2024, the code.
    """
    top, left, side = centre_crop(size)
    polygons = annotation.polygons
    if polygons:
        seen = _drawn([polygon - (left, top) for polygon in polygons], side)
    else:
        seen = annotation.mask[top : top + side, left : left + side]
    height, width = _cell(size, grid)
    if min(height, width) < 1:
        rule = f"a picture of at least {max(grid.shape)} pixels a side"
        raise InputError("Patches of an object", rule, f"{size[0]} x {size[1]}", "Set geometry=exact.")
    whole = seen[: height * grid.n_rows, : width * grid.n_cols]
    cells = whole.reshape(grid.n_rows, height, grid.n_cols, width)
    return np.asarray(cells.any(axis=(1, 3)))


def centre_crop(size: tuple[int, int]) -> tuple[int, int, int]:
    """Top, left and side of the square in the middle of a picture, in its pixels."""
    side = min(size)
    return (size[0] - side) // 2, (size[1] - side) // 2, side


def _cell(size: tuple[int, int], grid: PatchGrid) -> tuple[int, int]:
    side = min(size)
    return side // grid.n_rows, side // grid.n_cols


def _drawn(polygons: list[np.ndarray], side: int) -> Bool[np.ndarray, "side side"]:
    """Polygons in the crop's own pixels, their corners outside of it dropped."""
    canvas = Image.new("1", (side, side))
    for polygon in polygons:
        inside = polygon[((polygon >= 0) & (polygon < side)).all(axis=1)]
        if len(inside) >= 3:
            ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in inside], fill=1)
    return np.asarray(canvas)

"""From masks over pixels or patches to the patches of one image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.errors import InputError, PositionError
from vlm_lens.layout.image_span import ImageSpan


def covered_patches(span: ImageSpan, mask: object, threshold: float | int) -> frozenset[int]:
    """The patches of which more than `threshold` of the area lies in a mask of the original.

    Raises:
        InputError: the original is unknown; the mask has another size, marks nothing, or lies
            wholly in what the crop cut away.
    """
    if not 0.0 <= threshold < 1.0:
        raise InputError("Region failed", "0 <= threshold < 1", threshold)
    if span.geometry is None:
        raise InputError(
            "Pixels of the original are unknown",
            "inputs made by prepare, or from a mapping with original_sizes and image_processor",
            "a layout without pixel geometry",
            "Pass a patch mask: layout.patches(mask).",
        )
    pixels = boolean_mask(mask)
    share = span.geometry.cover_patches(pixels, span.grid)
    if not share.any():
        seen = span.geometry.patch_boxes(span.grid)
        box = (*seen[0, 0, :2].tolist(), *seen[-1, -1, 2:].tolist())
        raise InputError(
            "Mask is empty" if not pixels.any() else "Mask is empty after the crop",
            "a mask that marks a pixel inside the part of the picture that the model sees, "
            f"(top, left, bottom, right) = {tuple(round(edge, 1) for edge in box)}",
            f"{int(pixels.sum())} marked pixels, none of them there",
        )
    return frozenset(np.flatnonzero(share > threshold).tolist())


def patches_at(
    span: ImageSpan,
    rows: int | slice | Sequence[int] | Tensor | np.ndarray | None,
    cols: int | slice | Sequence[int] | None,
) -> frozenset[int]:
    """The patches at the given rows and columns, or those that one boolean mask marks."""
    grid = span.grid
    if isinstance(rows, Tensor | np.ndarray) and rows.ndim == 2:
        patches = boolean_mask(rows)
        if cols is not None or patches.shape != grid.shape:
            raise InputError(
                "Patch mask does not match the grid",
                f"{grid.n_rows} x {grid.n_cols} and no columns beside it",
                " x ".join(map(str, patches.shape)),
                "A mask over pixels goes through layout.region(mask).",
            )
        return frozenset(np.flatnonzero(patches).tolist())
    chosen_rows = _along(rows, grid.n_rows, "row")
    chosen_cols = _along(cols, grid.n_cols, "column")
    return frozenset(row * grid.n_cols + col for row in chosen_rows for col in chosen_cols)


def boolean_mask(mask: object) -> Bool[np.ndarray, "height width"]:
    """A mask as booleans: from an array, tensor or PIL image of booleans, of 0 and 1, or 0 and 255.

    Raises:
        InputError: other values, or not two dimensions.
    """
    array = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise InputError(
            "Mask is not understood", "booleans [height width]",
            f"{array.dtype} with shape {list(array.shape)}",
            "Choose one channel, or one annotation.",
        )  # fmt: skip
    if array.dtype != bool:
        values = np.unique(array)
        if not (np.isin(values, (0, 1)).all() or np.isin(values, (0, 255)).all()):
            raise InputError(
                "Mask is not understood", "booleans, or the values 0 and 1, or 0 and 255",
                f"values {values[:6].tolist()}", "Compare it with a label: mask == label.",
            )  # fmt: skip
        array = array != 0
    return array


def _along(selection: int | slice | Sequence[int] | Tensor | np.ndarray | None, size: int, axis: str) -> list[int]:
    if selection is None:
        return list(range(size))
    if isinstance(selection, slice):
        return list(range(size)[selection])
    wanted = [selection] if isinstance(selection, int) else [int(index) for index in selection]
    for index in wanted:
        if not -size <= index < size:
            raise PositionError(f"Patch {axis} does not exist", f"{-size} <= {axis} < {size}", index)
    return [index % size for index in wanted]

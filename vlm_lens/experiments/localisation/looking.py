"""What is kept of one detail: what became of it, and where the rows that name it look."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vlm_lens.experiments.localisation.named_tokens import phrase_of
from vlm_lens.layout import TokenLayout
from vlm_lens.metrics.judges import NamedObject
from vlm_lens.metrics.localisation import chance_of_peak, peak_is_near
from vlm_lens.probes import FlowReading
from vlm_lens.segmenters.selection import ChosenMask

KEPT, NO_WORDS, NO_MASK = "kept", "words not found", "no mask"
CUT_AWAY, NOT_RUN = "outside of what the model sees", "its row was not run: the text is cut there"
Patches = Bool[np.ndarray, "patch_row patch_col"]


def located(
    detail: NamedObject, rows: Sequence[int], is_run: bool, mask: ChosenMask, layout: TokenLayout
) -> tuple[dict[str, Any], Patches | None]:
    """What became of a detail, as a row, and its patches where it is kept.

    Args:
        detail: what the description names.
        rows: the positions of its words.
        is_run: whether a row whose attention can be read is among them.
        mask: where it is.
        layout: of the description.
    """
    row = {
        "detail": phrase_of(detail), "name": detail.name, "n_rows": len(rows), "status": KEPT,
        "mask_share": mask.share, "mask_score": mask.score, "n_patches": 0,
    }  # fmt: skip
    span = layout.image_span()
    if not rows or not is_run:
        return {**row, "status": NOT_RUN if rows else NO_WORDS}, None
    if mask.rejected is not None:
        return {**row, "status": NO_MASK if mask.rejected == "empty" else f"mask {mask.rejected}"}, None
    if span.geometry is None or not span.geometry.cover_patches(mask.mask, span.grid).any():
        return {**row, "status": CUT_AWAY}, None
    patches = layout.region(mask.mask).patches.numpy()
    return {**row, "n_patches": int(patches.sum())}, patches


def accuracy_rows(
    detail: str, reading: FlowReading, rows: Sequence[int], patches: Patches, tolerance: int
) -> list[dict[str, Any]]:
    """Per layer whether the peak lies at the object: of the rows that name it, and of all other rows together."""
    others = sorted(set(reading.positions.tolist()) - set(rows))
    is_right = _is_right(reading, rows, patches, tolerance)
    of_others = _is_right(reading, others, patches, tolerance) if others else np.full_like(is_right, np.nan)
    chance = chance_of_peak(patches, tolerance=tolerance)
    return [
        {"detail": detail, "layer": layer, "is_right": float(right), "others": float(other), "chance": chance}
        for layer, right, other in zip(reading.layers, is_right, of_others, strict=True)
    ]


def map_rows(detail: str, values: Float[np.ndarray, "patch_row patch_col"], patches: Patches) -> list[dict[str, Any]]:
    """A map and a mask, a row for each patch."""
    return [
        {"detail": detail, "patch_row": row, "patch_col": column, "attention": float(values[row, column]),
         "is_object": bool(patches[row, column])}
        for row, column in np.ndindex(values.shape)
    ]  # fmt: skip


def _is_right(
    reading: FlowReading, rows: Sequence[int], patches: Patches, tolerance: int
) -> Float[np.ndarray, " layer"]:
    return peak_is_near(reading.at(rows).map().values.double().numpy(), patches, tolerance=tolerance)

"""The stream before the decoder's first layer: what all share, and each variant's own rows of it."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.recompute.dispatch import Dispatch, Part
from vlm_lens.recompute.pictures import pictures_seen
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.rows import TowerRows
from vlm_lens.recompute.variant import NONE, Variant


def entered(
    planned: Planned, dispatch: Dispatch, max_rows: int, vectors: Float[Tensor, "image patch d_model"] | None = None
) -> tuple[Float[Tensor, "batch pos d_model"], Float[Tensor, "image patch d_model"] | None]:
    """The shared stream before the first layer; a variant with rows of its own there holds them as its `stream`.

    Args:
        planned: what runs.
        dispatch: stands at the hooks.
        max_rows: rows of variants that pass a layer together.
        vectors: of the pictures, where an earlier run has made them.

    Returns:
        The stream, and the vectors of the pictures, if there are any.
    """
    model = planned.model
    tokens = planned.entries.input_ids.to(model.embed.W_E.device)
    if not isinstance(model, JoinedTransformer):
        with dispatch.shared():
            stream = cast(Tensor, model._embedded_tokens(tokens, planned.is_real, None))
        for variant in planned.in_parts:
            _start(dispatch, variant, stream, model.hook_embed)
        dispatch.forget()
        return stream, None
    pixels = planned.entries.pixel_values
    if vectors is None and pixels is not None:
        vectors = pictures_seen(planned, dispatch, pixels, max_rows)
    with dispatch.shared():
        stream = cast(Tensor, model.hook_embed(model.merged(tokens, vectors)))
    for variant in planned.in_parts:
        whole = stream
        if variant.features is not None and vectors is not None:
            index = torch.from_numpy(variant.features_changed).to(vectors.device)
            whole = model.merged(tokens, vectors.index_copy(1, index, variant.features.to(vectors.dtype)))
        _start(dispatch, variant, whole, model.hook_embed)
        variant.features = None
    dispatch.forget()
    return stream, vectors


def _start(dispatch: Dispatch, variant: Variant, whole: Tensor, hook_embed: torch.nn.Module) -> None:
    """The rows of a variant that differ, past the hook on the stream's beginning."""
    rows = cast(TowerRows, variant.decoder).started
    variant.stream, variant.stream_rows = None, NONE
    if len(rows):
        with dispatch.passing([Part(variant, rows, rows)]):
            variant.stream = hook_embed(whole[:, torch.from_numpy(rows).to(whole.device)])
        variant.stream_rows = rows

"""From the stream after the last layer to logits, for the rows that are wanted."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.recompute.dispatch import Dispatch, Part
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.variant import Rows, Variant


def finish(
    planned: Planned, dispatch: Dispatch, shared: Float[Tensor, "batch row d_model"], rows: Rows, max_rows: int
) -> Float[Tensor, "batch wanted_pos d_vocab"]:
    """The logits of what is wanted as all share them; each variant holds its own.

    Args:
        planned: what runs.
        dispatch: stands at the hooks.
        shared: the shared stream after the last layer.
        rows: which positions these are.
        max_rows: rows of variants that are unembedded together.
    """
    model, wanted = planned.model, np.flatnonzero(planned.wanted)
    shared = shared.to(model.ln_final.w.device)
    with dispatch.shared():
        logits = model.unembed(model.ln_final(shared))
    kept: Tensor = logits[:, torch.from_numpy(np.searchsorted(rows, wanted)).to(logits.device)]
    for one in planned.in_parts:
        one.logits = kept
    apart = [one for one in planned.in_parts if len(one.ending)]
    for parts in _packs_of(apart, max_rows):
        streams = [part.variant.own_rows(shared, rows, part.entered) for part in parts]
        with dispatch.passing(parts):
            found = model.unembed(model.ln_final(torch.cat(streams, dim=1)))
        for part in parts:
            piece = found[:, part.entered_at : part.entered_at + len(part.entered)]
            is_wanted = np.isin(part.entered, wanted)
            target = torch.from_numpy(np.searchsorted(wanted, part.entered[is_wanted])).to(kept.device)
            source = piece[:, torch.from_numpy(np.flatnonzero(is_wanted)).to(kept.device)]
            part.variant.logits = kept.index_copy(1, target, source)
    dispatch.forget()
    return kept


def _packs_of(variants: Sequence[Variant], max_rows: int) -> Iterator[list[Part]]:
    """Variants side by side, as many together as the bound on rows allows."""
    pack: list[Part] = []
    n_rows = 0
    for one in variants:
        if pack and n_rows + len(one.ending) > max_rows:
            yield pack
            pack, n_rows = [], 0
        pack.append(Part(one, one.ending, one.ending, n_rows, n_rows))
        n_rows += len(one.ending)
    if pack:
        yield pack

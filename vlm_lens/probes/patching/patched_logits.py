"""The logits under each patch of a grid: what no patch changes is computed once, and of each patch what it changes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Again, Writer
from vlm_lens.attachments.naming.towers import towers_of
from vlm_lens.attachments.running.standing import standing_at
from vlm_lens.recompute import SharedRun

MEMORY = 2**30
"""Bytes that the patches of one shared run may hold at once, at most, beside the model and what they share."""

MOST_TOGETHER = 64
"""Patches of one shared run: many enough that what they share costs each little, few enough that progress shows."""


def patched_logits(
    again: Again, patches: Sequence[Writer], *, only_last: bool
) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
    """The logits under each patch by itself, in order, the writers before it in force.

    Args:
        again: the model and what it was given.
        patches: of each run.
        only_last: give the last prompt position of each row alone.
    """
    if not _may_share(again):
        for patch in patches:
            yield replace(again, writers=(*again.writers, patch))()
        return
    is_cut = bool(again.record.options.get("only_last"))
    wanted = -1 if is_cut else "last" if only_last else slice(None)
    mask = again.record.layout.mask(wanted)  # type: ignore[union-attr]
    columns = mask.any(dim=0).cumsum(dim=0)[mask.int().argmax(dim=1)] - 1
    n_together = _n_together(again, int(mask.any(dim=0).sum()))
    for start in range(0, len(patches), n_together):
        conditions = [(*again.writers, patch) for patch in patches[start : start + n_together]]
        for outcome in SharedRun(again.model, again.inputs, conditions, wanted).run():
            assert outcome.logits is not None
            yield _at(outcome.logits, columns) if only_last else outcome.logits


def _may_share(again: Again) -> bool:
    """Whether a plain run of tokens through a decoder was made, with nothing at the model but what was given to it.

    Whatever else stands there would be shown rows of several runs side by side.
    """
    model, options = again.model, again.record.options
    is_plain = options.get("return_type", "logits") in ("logits", None) and set(options) <= {"only_last", "return_type"}
    is_stream = isinstance(again.inputs, Tensor) and again.inputs.is_floating_point()
    has_decoder = any(tower.name == "decoder" for tower in towers_of(model).values())
    is_alone = not standing_at(model) and all(point.is_idle for point in model.hook_dict.values())
    return is_plain and not is_stream and has_decoder and again.record.layout is not None and is_alone


def _n_together(again: Again, n_wanted: int) -> int:
    """How many patches may share a run, were each of them to change every position."""
    cfg, layout = again.model.cfg, again.record.layout
    assert layout is not None
    n_bytes = torch.empty(0, dtype=cfg.dtype).element_size()
    streams = 3 * layout.n_positions * cfg.d_model * n_bytes
    masks = 2 * layout.n_positions**2
    logits = 2 * n_wanted * cfg.d_vocab * n_bytes
    return int(np.clip(MEMORY // (layout.n_rows * (streams + masks + logits)), 1, MOST_TOGETHER))


def _at(logits: Float[Tensor, "batch wanted_pos d_vocab"], columns: Any) -> Float[Tensor, "batch 1 d_vocab"]:
    """Of each row the one position that is its own."""
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, columns.to(logits.device)][:, None]

"""How many conditions may run at once within a bound on memory."""

from collections.abc import Mapping
from typing import Any

import torch

from vlm_lens.errors import InputError
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.shared_run import MAX_ROWS
from vlm_lens.recompute.variant import Variant

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
USUAL = 2 * GIBIBYTE
"""The bound where none was given, on a CPU and on a GPU that is nearly full."""


def bound_of(given: int | None, model: Any) -> int:
    """The bound in bytes; where none was given, half of what is free on the model's GPU, or `USUAL`.

    Raises:
        InputError: something that is no number of bytes.
    """
    if given is None:
        device = torch.device(model.cfg.device or "cpu")
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
        return max(USUAL, int(free) // 2)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InputError("memory of a sweep", "a number of bytes, at least 1", repr(given), "2 GiB are 2 << 30.")
    return given


def bytes_of(planned: Planned, variant: Variant, n_new: int) -> int:
    """What one condition holds while the conditions beside it run, in bytes: an estimate, rather too high.

    Its rows of the stream, twice while a layer runs; who may attend to whom, in both forms that a kernel wants; its
    logits; under generation its keys and values of every position.
    """
    if variant.reach.why_in_full:
        return 0  # by itself, as a plain run
    cfg, size = planned.model.cfg, planned.model.cfg.dtype.itemsize
    batch = planned.entries.input_ids.shape[0]
    total = batch * int(planned.wanted.sum()) * cfg.d_vocab * size
    for rows, width, n in (
        (variant.decoder, cfg.d_model, planned.n),
        (variant.vision, _tower_width(planned), planned.sizes.vision),
    ):
        most = max((len(entered) for entered in rows.entered if entered is not None), default=0) if rows else 0
        total += batch * most * (2 * width * size + (1 + size) * n)
    if n_new:
        total += 2 * batch * cfg.n_layers * cfg.n_kv * cfg.d_head * (planned.n + n_new) * size
    return total


def parts_of(planned: Planned, names: Mapping[int, str], memory: int, n_new: int = 0) -> list[list[Variant]]:
    """The conditions that are run together in parts, each within the bound, then each of the others by itself.

    Args:
        planned: what will be run.
        names: of the variants, by their `id`.
        memory: the bound in bytes.
        n_new: how many tokens will be generated.

    Raises:
        InputError: a bound that is too small for one of them.
    """
    parts: list[list[Variant]] = []
    held, needs = 0, [bytes_of(planned, variant, n_new) for variant in planned.in_parts]
    if needs and (most := max(needs)) > memory:
        name = names[id(planned.in_parts[needs.index(most)])]
        rule = f"at least {most} bytes ({most / MEBIBYTE:.3g} MiB) for condition {name!r} alone"
        raise InputError("memory of a sweep", rule, f"{memory} bytes", "Give more, or leave it out.")
    for variant, needed in zip(planned.in_parts, needs, strict=True):
        if not parts or held + needed > memory:
            parts.append([])
            held = 0
        parts[-1].append(variant)
        held += needed
    return parts + [[one] for one in planned.variants if one.reach.why_in_full]


def rows_together(planned: Planned, memory: int) -> int:
    """Rows of variants that may pass a layer together: a layer's own intermediate values are bounded too."""
    cfg, size = planned.model.cfg, planned.model.cfg.dtype.itemsize
    batch = planned.entries.input_ids.shape[0]
    of_row = batch * size * (6 * cfg.d_model + 3 * (cfg.d_mlp or 0))
    return max(1, min(MAX_ROWS, memory // (2 * of_row)))


def _tower_width(planned: Planned) -> int:
    vision = getattr(planned.model, "vision", None)
    return 0 if vision is None else int(vision.cfg.d_model)

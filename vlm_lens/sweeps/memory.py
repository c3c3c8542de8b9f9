"""How many conditions may run at once within a bound on memory."""

from collections.abc import Sequence

from vlm_lens.errors import InputError
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.shared_run import MAX_ROWS
from vlm_lens.recompute.variant import Variant

MEBIBYTE = 1 << 20


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


def parts_of(planned: Planned, variants: Sequence[Variant], memory: int, n_new: int = 0) -> list[list[Variant]]:
    """The conditions in parts, each within the bound.

    Raises:
        InputError: a bound that is too small for one of them.
    """
    parts: list[list[Variant]] = []
    held = 0
    for variant in variants:
        needed = bytes_of(planned, variant, n_new)
        if needed > memory:
            rule = f"at least {-(-needed // MEBIBYTE)} MiB for one condition ({variant.session.objects!r})"
            raise InputError("memory of a sweep", rule, f"{memory / MEBIBYTE:.1f} MiB", "Give memory= in bytes.")
        if not parts or held + needed > memory:
            parts.append([])
            held = 0
        parts[-1].append(variant)
        held += needed
    return parts


def rows_together(planned: Planned, memory: int) -> int:
    """Rows of variants that may pass a layer together: a layer's own intermediate values are bounded too."""
    cfg, size = planned.model.cfg, planned.model.cfg.dtype.itemsize
    batch = planned.entries.input_ids.shape[0]
    of_row = batch * size * (6 * cfg.d_model + 3 * (cfg.d_mlp or 0))
    return max(1, min(MAX_ROWS, memory // (2 * of_row)))


def _tower_width(planned: Planned) -> int:
    vision = getattr(planned.model, "vision", None)
    return 0 if vision is None else int(vision.cfg.d_model)

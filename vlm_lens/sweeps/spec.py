"""What tells a sweep on disk from others, and what of a cell is kept there."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.errors import InputError, VlmLensError
from vlm_lens.estimates.identity import hash_of
from vlm_lens.estimates.manifest import versions
from vlm_lens.model.generation import Step
from vlm_lens.recompute.bystanders import is_watched
from vlm_lens.recompute.decoding import Continued
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.variant import Variant
from vlm_lens.sweeps.cell import Cell
from vlm_lens.sweeps.conditions import Condition
from vlm_lens.sweeps.readings import Readings


def spec_of(planned: Planned, conditions: Sequence[Condition], readings: Readings) -> dict[str, Any]:
    """What was asked of which model, in plain values.

    Raises:
        InputError: probes, whose results are not kept on disk; a condition whose contents cannot be told; or something
            else at the model, which nothing on disk would tell of.
    """
    of_conditions = [one for condition in conditions for one in condition.objects if not isinstance(one, Writer)]
    if probes := [*of_conditions, *readings.probes]:
        advice = "Leave out out=, or read logits, an answer or generated text."
        raise InputError("out of a sweep", "conditions and readings without probes", repr(probes[0]), advice)
    check_is_alone(planned.model)
    layout = planned.current.layout
    assert layout is not None
    entries = [one for one in planned.entries if one is not None]
    return {
        "model": hash_of(planned.model),
        "dtype": str(planned.model.cfg.dtype),
        "inputs": fingerprint_of([*entries, layout.role_ids]),
        "read": _written(readings),
        "conditions": [[one.name, _fingerprint(one)] for one in conditions],
        "versions": versions(),
    }


def check_is_alone(model: Any) -> None:
    """Raise where something stands at a model whose sweep is kept on disk.

    Raises:
        InputError: a hook, of ours or of torch's.
    """
    if is_watched(model):
        advice = "Put it into the conditions, or leave out out=."
        raise InputError("out of a sweep", "a model at which nothing else stands", "one with hooks", advice)


def required_of(readings: Readings) -> tuple[str, ...]:
    """What must be there of every cell that was kept."""
    logits = () if readings.logits is None else ("logits",)
    text = () if readings.generated is None else ("tokens", "step_logits")
    return (*logits, *text, *(f"value.{metric!r}" for metric in readings.metrics))


def tensors_of(cell: Cell) -> dict[str, Tensor]:
    """What is kept of a cell."""
    kept = {f"value.{name}": value for name, value in cell.values.items()}
    if cell.logits is not None:
        kept["logits"] = cell.logits
    if cell.generation is not None:
        kept |= {"tokens": cell.generation.tokens.cpu(), "step_logits": cell.generation.logits.cpu()}
    return kept


def cell_of(tensors: Mapping[str, Tensor], condition: Condition, variant: Variant, planned: Planned, ends: Any) -> Cell:
    """A cell from what was kept of it.

    Args:
        tensors: as `tensors_of` gave them.
        condition: whose cell.
        variant: the condition as it was planned.
        planned: where it was planned.
        ends: the tokens that end a row, as `vlm.generate` takes them.
    """
    prefix = "value."
    values = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
    generation = None
    if "tokens" in tensors:
        model, device = planned.model, torch.device(planned.model.cfg.device or "cpu")
        tokens, logits = (tensors[name].to(device).unbind(dim=1) for name in ("tokens", "step_logits"))
        steps = [Step(index, *given) for index, given in enumerate(zip(tokens, logits, strict=True))]
        inputs = model.prompts_of(planned.inputs)
        generation = Continued(variant, None, steps).run(model, inputs, model._end_tokens(ends))
    return Cell(condition, tensors.get("logits"), values, generation, variant.session)


def _written(readings: Readings) -> str:
    """What is read, in words, and a fingerprint besides: different regions may be written alike."""
    read = [one for one in (readings.logits, *readings.metrics, readings.generated) if one is not None]
    fingerprint = fingerprint_of([readings.logits, list(map(repr, readings.metrics)), readings.generated])
    return f"{', '.join(map(repr, read))} ({fingerprint})"


def _fingerprint(condition: Condition) -> str:
    try:
        return fingerprint_of(list(condition.objects))
    except VlmLensError as error:
        error.add_note(f"In condition {condition.name!r} of a sweep that is kept on disk.")
        raise

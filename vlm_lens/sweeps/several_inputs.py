"""Sweeps of several inputs in turn: what they begin with is computed once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm_lens.attachments.running.runs import prepared
from vlm_lens.errors import InputError, VlmLensError
from vlm_lens.recompute.beginning import Beginning
from vlm_lens.recompute.prefix import Prefix
from vlm_lens.sweeps.progress import Progress
from vlm_lens.sweeps.results import SweepResult
from vlm_lens.sweeps.sweep import Sweep


def are_several(inputs: Any) -> bool:
    """Whether these are several inputs, one after the other; a list of texts is one batch.

    Raises:
        InputError: a list without inputs.
    """
    if not isinstance(inputs, list | tuple):
        return False
    if not inputs:
        raise InputError("inputs of a sweep", "at least one", "none")
    return all(isinstance(one, Mapping) for one in inputs)


def swept_in_turn(
    model: Any,
    inputs: Sequence[Any],
    conditions: Any,
    read: Any,
    *,
    out: str | Path | None,
    shows_progress: bool,
    **options: Any,
) -> list[SweepResult]:
    """The results of each inputs, in order. All are planned, and what is wrong refused, before anything runs.

    Args:
        model: what runs.
        inputs: what it is given, one after the other.
        conditions: the same for all, or a function of the inputs: regions belong to a layout.
        read: see `Sweep`.
        out: a folder, with one of its own for each inputs.
        shows_progress: one bar over all.
        options: of each `Sweep`.
    """
    sweeps = []
    for number, one in enumerate(inputs):
        folder = None if out is None else Path(out) / f"inputs-{number:06d}"
        try:
            ready = prepared(model, one)
            given = conditions(ready) if callable(conditions) else conditions
            sweeps.append(Sweep(model, ready, given, read, out=folder, shows_progress=False, **options))
        except VlmLensError as error:
            error.add_note(f"In number {number} of the inputs.")
            raise
    for sweep in sweeps:
        sweep.check_who_stands()
    prefix: Prefix | None = None
    with Progress([length for sweep in sweeps for length in sweep.lengths], shows_progress) as progress:
        for number, sweep in enumerate(sweeps):
            is_last = number == len(sweeps) - 1
            following = None if is_last else Beginning.of_inputs(model, sweeps[number + 1].inputs)
            prefix = sweep.run_parts(progress, prefix, following)
    return [sweep.result() for sweep in sweeps]

"""A sweep held against the naive loop: some of its conditions run again, each in full."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Reader
from vlm_lens.errors import InputError, VerificationError, VlmLensError
from vlm_lens.inputs import Inputs
from vlm_lens.sweeps.cell import Cell
from vlm_lens.sweeps.readings import Readings

TOLERANCE = 1e-5
"""Of the largest logit, in fp32: other shapes of the same products differ by some 1e-6 at most."""

SETTING = "VLM_LENS_VERIFY_SWEEPS"
"""The environment variable that has every sweep verified: "all", or how many conditions."""


def n_to_verify(asked: Any, n_conditions: int) -> int:
    """How many conditions are run again: `verify=True` takes three, "all" every one, a number so many.

    What the environment asks for is done as well, so that it can be asked of a program's every sweep.

    Raises:
        InputError: something else.
    """
    setting = os.environ.get(SETTING, "")
    of_setting: Any = int(setting) if setting.isdecimal() else setting or False
    return max(_n_of("verify", asked, n_conditions), _n_of(SETTING, of_setting, n_conditions))


def _n_of(name: str, asked: Any, n_conditions: int) -> int:
    if isinstance(asked, str) and asked == "all":
        return n_conditions
    if isinstance(asked, bool):
        return min(3, n_conditions) if asked else 0
    if isinstance(asked, int) and asked >= 0:
        return min(asked, n_conditions)
    raise InputError(f"{name} of a sweep", "True, 'all' or a number of conditions", repr(asked))


def verify_cells(model: Any, inputs: Any, cells: Sequence[Cell], readings: Readings) -> None:
    """Run some conditions again, each in full, and compare.

    Args:
        model: what ran.
        inputs: what it was given.
        cells: what the sweep found.
        readings: what was read of each.

    Raises:
        VerificationError: with the condition and the figure that is off.
    """
    for cell in cells:
        objects = cell.session.objects
        if cell.generation is not None:
            assert readings.generated is not None
            again = model.generate(inputs, *objects, **readings.generated.options)
            _compare_generated(model, inputs, cell, again)
            run: Any = again
        else:
            run = model.run(inputs, *objects)
            _compare_read(model, inputs, cell, run, readings)
        is_same_text = cell.generation is None or torch.equal(cell.generation.tokens.cpu(), run.tokens.cpu())
        for probe in objects if is_same_text else ():
            _compare_found(cell, probe, run)


def _compare_read(model: Any, inputs: Any, cell: Cell, run: Any, readings: Readings) -> None:
    """Logits and metrics. No metric moves by more than twice what the logits do: at most their difference is read."""
    if cell.logits is None and not cell.values:
        return
    layout = cell.session.layout
    assert layout is not None
    ((logits, values),) = readings.kept_of(model, [run.logits], np.arange(run.logits.shape[1]), layout)
    allowed = _allowed(model, inputs, cell, float(run.logits.abs().max()))
    if logits is not None:
        assert cell.logits is not None
        _compare(cell, "logits", cell.logits, logits, allowed)
    for name, value in values.items():
        _compare(cell, name, cell.values[name], value, 2 * allowed)


def _compare_generated(model: Any, inputs: Any, cell: Cell, again: Any) -> None:
    """The logits of each token, up to the first on which the two disagree: from there on they read different texts."""
    assert cell.generation is not None
    mine, loop = cell.generation.tokens.cpu(), again.tokens.cpu()
    n = min(mine.shape[1], loop.shape[1])
    differs = (mine[:, :n] != loop[:, :n]).any(dim=0).nonzero()
    n = n if not len(differs) else int(differs[0]) + 1
    found, wanted = cell.generation.logits[:, :n].cpu(), again.logits[:, :n].cpu()
    allowed = _allowed(model, inputs, cell, float(wanted.abs().max()))
    _compare(cell, "logits of the generation", found, wanted, allowed)
    if not len(differs) and mine.shape != loop.shape:
        raise _off(cell, f"{loop.shape[1]} tokens", mine.shape[1])


def _compare(cell: Cell, what: str, mine: Tensor, loop: Tensor, allowed: float) -> None:
    if mine.shape != loop.shape:
        raise _off(cell, f"{what} {list(loop.shape)}", list(mine.shape))
    difference = float((mine.double() - loop.double()).abs().max())
    if not difference <= allowed:
        rule = f"{what} within {allowed:.2e} of the naive loop's (the largest is {float(loop.abs().max()):.3g})"
        raise _off(cell, rule, f"{difference:.2e}")


def _allowed(model: Any, inputs: Any, cell: Cell, largest: float) -> float:
    """How far logits may be off: in half precision twice what the naive loop differs by between a batch of 1 and of 2.

    Never less than the spacing of numbers at the largest logit: a kernel that rounds alike at both says nothing.
    """
    if model.cfg.dtype == torch.float32:
        return TOLERANCE * largest
    least = largest * float(torch.finfo(model.cfg.dtype).eps)
    if not isinstance(inputs, Inputs) or inputs.n_rows != 1:
        return 2 * least
    try:
        two = model.run(_twice(inputs), *cell.session.objects).logits[:1].double()
    except VlmLensError:  # a condition that speaks of one row alone
        return 2 * least
    one = model.run(inputs, *cell.session.objects).logits.double()
    return max(least, 2 * float((one - two).abs().max()))


def _twice(inputs: Inputs) -> Inputs:
    layout = inputs.layout
    pixels = inputs.pixel_values
    return Inputs(
        inputs.input_ids.repeat(2, 1),
        inputs.attention_mask.repeat(2, 1),
        None if pixels is None else pixels.repeat(2, 1, 1, 1),
        replace(layout, role_ids=layout.role_ids.repeat(2, 1), images=layout.images * 2, strings=layout.strings * 2),
    )


def _compare_found(cell: Cell, probe: Any, run: Any) -> None:
    """What a probe found, number by number, where its result has a table."""
    if not isinstance(probe, Reader):
        return
    mine, loop = cell[probe], run[probe]
    if not hasattr(mine, "to_dataframe") or not hasattr(loop, "to_dataframe"):
        return
    left, right = (one.to_dataframe().select_dtypes("floating") for one in (mine, loop))
    if left.shape != right.shape:
        raise _off(cell, f"{probe.label} with a table of {right.shape}", left.shape)
    numbers, wanted = left.to_numpy(float), right.to_numpy(float)
    is_close = np.isclose(
        numbers, wanted, rtol=1e-3, atol=1e-4 * max(np.nanmax(np.abs(wanted), initial=0.0), 1e-9), equal_nan=True
    )
    if not is_close.all():
        raise _off(cell, f"{probe.label} as the naive loop has it", f"{int((~is_close).sum())} numbers that differ")


def _off(cell: Cell, expected: str, got: object) -> VerificationError:
    advice = "Please report it."
    if own := [one for one in cell.session.objects if not type(one).__module__.startswith("vlm_lens.")]:
        declared = "`touched`, `asked` or `is_local` says"
        advice = f"Does {own[0].label} touch, or read, more than {declared}? If not, please report it."
    return VerificationError(f"Condition {cell.name!r} of the sweep", expected, got, advice)

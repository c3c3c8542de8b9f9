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
from vlm_lens.sweeps.results import Cell

TOLERANCE = 1e-5
"""Of the largest logit, in fp32: other shapes of the same products differ by some 1e-6 at most."""

SETTING = "VLM_LENS_VERIFY_SWEEPS"
"""The environment variable that has every sweep verified: "all", or how many conditions."""


def n_to_verify(asked: Any, n_conditions: int) -> int:
    """How many conditions are run again: `verify=True` takes three, "all" every one, a number so many.

    Raises:
        InputError: something else.
    """
    asked = asked or os.environ.get(SETTING, "") or False
    if isinstance(asked, str) and asked.isdecimal():
        asked = int(asked)
    if asked == "all":
        return n_conditions
    if isinstance(asked, bool):
        return min(3, n_conditions) if asked else 0
    if isinstance(asked, int) and asked > 0:
        return min(asked, n_conditions)
    raise InputError("verify of a sweep", "True, 'all' or a number of conditions", repr(asked))


def verify_cells(
    model: Any, inputs: Any, cells: Sequence[Cell], wanted: Sequence[int], options: dict[str, Any]
) -> None:
    """Run some conditions again, each in full, and compare.

    Args:
        model: what ran.
        inputs: what it was given.
        cells: what the sweep found.
        wanted: the positions of their logits.
        options: of `generate`, where text was generated.

    Raises:
        VerificationError: with the condition and the figure that is off.
    """
    for cell in cells:
        objects = cell.session.objects
        if cell.generation is not None:
            again = model.generate(inputs, *objects, **options)
            _compare(model, inputs, cell, cell.generation.logits.cpu(), again.logits.cpu(), "logits of the generation")
            continue
        run = model.run(inputs, *objects)
        if cell.logits is not None:
            found = run.logits[:, list(wanted)].cpu()
            _compare(model, inputs, cell, cell.logits.view(found.shape), found, "logits")
        for probe in objects:
            _compare_found(cell, probe, run)


def _compare(model: Any, inputs: Any, cell: Cell, mine: Tensor, loop: Tensor, what: str) -> None:
    steps = min(mine.shape[1], loop.shape[1])
    if mine.shape != loop.shape and cell.generation is None:
        raise _off(cell, f"{what} {list(loop.shape)}", list(mine.shape))
    mine, loop = mine[:, :steps].double(), loop[:, :steps].double()
    difference, largest = float((mine - loop).abs().max()), float(loop.abs().max())
    allowed = (
        TOLERANCE * largest if model.cfg.dtype == torch.float32 else 2 * _of_batching(model, inputs, cell, largest)
    )
    if not difference <= allowed:
        raise _off(cell, f"{what} within {allowed:.2e} of the naive loop's (the largest is {largest:.3g})",
                   f"{difference:.2e}")  # fmt: skip


def _of_batching(model: Any, inputs: Any, cell: Cell, largest: float) -> float:
    """What the naive loop itself differs by between a batch of one and of two, in half precision."""
    least = largest * float(torch.finfo(model.cfg.dtype).eps) * 4
    if not isinstance(inputs, Inputs) or inputs.n_rows != 1:
        return least
    try:
        two = model.run(_twice(inputs), *cell.session.objects).logits[:1, -1].double()
    except VlmLensError:  # a condition that speaks of one row alone
        return least
    one = model.run(inputs, *cell.session.objects).logits[:, -1].double()
    return max(least, float((one - two).abs().max()))


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
    return VerificationError(f"Condition {cell.name!r} of the sweep", expected, got, "Please report it.")

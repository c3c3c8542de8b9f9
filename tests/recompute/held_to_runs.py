"""Every outcome of a shared run against a run of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens.attachments import Attachment, Reader
from vlm_lens.recompute import SharedRun

TOLERANCE = 1e-5
"""Of the largest value: fp32 in another order of sums gives some 1e-6."""


def assert_equals_runs(
    model: Any, inputs: Any, conditions: Sequence[Sequence[Attachment]], wanted: Any = "last", **options: Any
) -> SharedRun:
    """Raise unless each condition's logits, and what its readers found, are those of `model.run`."""
    shared = SharedRun(model, inputs, conditions, wanted, **options)
    outcomes = shared.run()
    assert len(outcomes) == len(conditions)
    rows = torch.from_numpy(np.flatnonzero(shared.planned.wanted))
    for objects, outcome in zip(conditions, outcomes, strict=True):
        alone = model.run(shared.planned.inputs, *objects)
        if wanted is None:
            assert outcome.logits is None
        else:
            assert outcome.logits is not None
            assert_near(outcome.logits, alone.logits[:, rows], f"logits of {objects}")
        for one in objects:
            if isinstance(one, Reader):
                assert_near(outcome.session[one], alone[one], f"{one} of {objects}")
    assert all(point.is_idle for point in model.hook_dict.values())
    return shared


def assert_near(found: Any, expected: Any, what: str) -> None:
    """Raise unless two results hold the same numbers, in whatever they are kept."""
    assert type(found) is type(expected), what
    if isinstance(expected, Tensor):
        assert found.shape == expected.shape, f"{what}: {tuple(found.shape)}, not {tuple(expected.shape)}"
        if not expected.is_floating_point():
            assert torch.equal(found, expected), what
            return
        is_finite = expected.isfinite()
        assert torch.equal(found.isfinite(), is_finite), what
        if is_finite.any():
            off = float((found - expected)[is_finite].abs().max())
            assert off <= TOLERANCE * max(1e-3, float(expected[is_finite].abs().max())), f"{what}: off by {off:.1e}"
    elif isinstance(expected, dict):
        assert list(found) == list(expected), what
        for key, value in expected.items():
            assert_near(found[key], value, f"{what}, {key}")
    elif hasattr(expected, "to_dataframe"):
        table, wanted = found.to_dataframe(), expected.to_dataframe()
        assert len(table) == len(wanted), what
        for column in wanted:
            numbers = wanted[column].dtype.kind == "f"
            if numbers:
                assert_near(
                    torch.tensor(table[column].values), torch.tensor(wanted[column].values), f"{what}, {column}"
                )
            else:
                assert list(table[column]) == list(wanted[column]), f"{what}, {column}"
    else:
        assert found == expected, what

"""Every continuation of a shared run against a generation of its own."""

from collections.abc import Sequence
from typing import Any

import torch
from pandas.testing import assert_frame_equal
from torch import Tensor

from vlm_lens.attachments import Attachment, Reader
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.recompute import SharedRun

TOLERANCE = 1e-5
"""Of the largest value."""


def assert_equals_generations(
    model: Any, inputs: Any, conditions: Sequence[Sequence[Attachment]], n_new: int = 6, **options: Any
) -> list[GeneratedRun]:
    """Raise unless each condition gives, token by token, what `model.generate` gives under it alone."""
    runs = SharedRun(model, inputs, conditions, n_expected=n_new).generate(**options)
    assert len(runs) == len(conditions)
    options.pop("max_bytes", None)
    for objects, run in zip(conditions, runs, strict=True):
        alone = model.generate(inputs, *objects, max_new_tokens=n_new, **options)
        assert torch.equal(run.tokens, alone.tokens), f"tokens of {objects}: {run.tokens}, not {alone.tokens}"
        assert_near(run.logits, alone.logits, f"logits of {objects}")
        assert run.texts == alone.texts and run.objects == objects
        assert_same_records(run, alone)
        for one in objects:
            if isinstance(one, Reader):
                assert_frame_equal(run[one].to_dataframe(), alone[one].to_dataframe(), rtol=1e-4, atol=1e-5)
    assert all(point.is_idle for point in model.hook_dict.values())
    return runs


def assert_near(found: Tensor, expected: Tensor, what: str) -> None:
    """Raise unless two tensors are alike, up to sums in another order."""
    off = float((found - expected).abs().max())
    assert off <= TOLERANCE * float(expected.abs().max()), f"{what}: off by {off:.1e}"


def assert_same_records(run: GeneratedRun, alone: GeneratedRun) -> None:
    """Raise unless a session says of its run what that of a generation by itself says."""
    found, expected = run.session.record, alone.session.record
    assert found is not None and expected is not None
    assert torch.equal(torch.cat([found.given["input_ids"], *found.tokens], dim=1),
                       torch.cat([expected.given["input_ids"], *expected.tokens], dim=1))  # fmt: skip
    assert_near(torch.stack(found.ends), torch.stack(expected.ends), "ends")
    assert (found.n_expected, found.is_whole, found.options) == (
        expected.n_expected,
        expected.is_whole,
        expected.options,
    )
    for layout, wanted in ((run.layout, alone.layout), (run.session.layout, alone.session.layout)):
        assert (layout is None) == (wanted is None)
        if wanted is not None:
            assert torch.equal(layout.role_ids, wanted.role_ids) and layout.strings == wanted.strings

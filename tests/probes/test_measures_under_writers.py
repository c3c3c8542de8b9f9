"""A measure's own runs are under the writers before it alone, and under the run's own options."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.tiny_models import D_VOCAB, filled, llama
from vlm_lens import (
    ActivationPatching,
    AttentionFlow,
    AttentionKnockout,
    AttentionRelevance,
    GradientTimesInput,
    HookedTransformer,
    IntegratedGradients,
    LogitDifference,
    LogitLens,
    LogProbability,
    ZeroAblation,
)
from vlm_lens.errors import HookError, PositionError

Make = Callable[[Any, Any], Any]
MEASURES: dict[str, Make] = {
    "patching": lambda model, source: ActivationPatching(
        model.run(source, names_filter="blocks.*.hook_resid_pre"), LogitDifference(40, 77), ["last"],
        shows_progress=False,
    ),
    "gradient": lambda model, source: GradientTimesInput(hook="blocks.1.hook_resid_pre", positions="text"),
    "integrated": lambda model, source: IntegratedGradients(hook="hook_embed", positions="text", n_steps=3),
    "relevance": lambda model, source: AttentionRelevance(),
}  # fmt: skip


@cache
def decoder() -> HookedTransformer:
    return HookedTransformer.from_hf(filled(LlamaForCausalLM(llama())))


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(300, D_VOCAB, (1, 8), generator=torch.Generator().manual_seed(seed))


def numbers(result: Any) -> list[np.ndarray]:
    is_grid = hasattr(result, "cells")
    return [result.cells, result.corrupted, result.recovered] if is_grid else [result.answer, result.signed]


@pytest.mark.parametrize("name", MEASURES)
def test_a_writer_after_a_measure_changes_nothing_of_it(name: str) -> None:
    vlm = tiny_vlm()
    inputs, other = tiny_inputs(vlm), tiny_inputs(vlm, seed=1)
    measure = MEASURES[name](vlm, other)
    later = ZeroAblation("last", hook="blocks.1.hook_resid_post")
    run, alone = vlm.run(inputs, measure, later), vlm.run(inputs, measure)
    assert not torch.equal(run.logits, alone.logits)  # the run itself is under both
    for found, expected in zip(numbers(run[measure]), numbers(alone[measure]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert getattr(run[measure], "explains", None) == getattr(alone[measure], "explains", None)
    earlier = vlm.run(inputs, AttentionKnockout("text", "image"), measure)[measure]
    assert not np.array_equal(numbers(earlier)[0], numbers(alone[measure])[0])  # one before it is in force


@pytest.mark.parametrize("name", MEASURES)
def test_a_mask_given_to_the_run_reaches_the_measure(name: str) -> None:
    model, given = decoder(), tokens()
    is_real = torch.ones_like(given)
    is_real[:, :3] = 0
    measure = MEASURES[name](model, tokens(1))
    masked = model.run(given, measure, attention_mask=is_real)
    named = model.run({"input_ids": given, "attention_mask": is_real}, measure)
    last = masked.logits[0, -1]
    for found, expected in zip(numbers(masked[measure]), numbers(named[measure]), strict=True):
        # A patch's own rows alone are computed where the inputs say the mask: equal up to the rounding of fp32.
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 if name == "patching" else 0)
    if name == "patching":
        assert masked[measure].corrupted[0] == pytest.approx(float(last[40] - last[77]), abs=1e-5)
    else:
        assert masked[measure].answer[0] == pytest.approx(float(last.max()), abs=1e-5)
    whole = model.run(given, measure)[measure]
    assert not np.allclose(numbers(whole)[0], numbers(masked[measure])[0])


def test_masked_positions_are_padding_to_readers() -> None:
    model, given = decoder(), tokens()
    is_real = torch.ones_like(given)
    is_real[:, 3:5] = 0
    lens, flow = LogitLens(), AttentionFlow("all")
    run = model.run(given, lens, flow, attention_mask=is_real)
    assert run[lens].positions.tolist() == run[flow].positions.tolist() == [0, 1, 2, 5, 6, 7]
    torch.testing.assert_close(run[flow].shares.sum(dim=-1), torch.ones_like(run[flow].shares[..., 0]))
    # A mapping's own mask comes before the option, as in the model.
    own = model.run({"input_ids": given, "attention_mask": torch.ones_like(given)}, lens, attention_mask=is_real)
    assert own[lens].positions.tolist() == list(range(8))


@pytest.mark.parametrize("options", [dict(return_type="loss"), dict(stop_at_layer=1)])
def test_a_run_without_logits_is_no_run_to_measure(options: dict[str, Any]) -> None:
    with pytest.raises(HookError, match="measures logits: expected a run that gives them"):
        decoder().run(tokens(), GradientTimesInput(hook="hook_embed", positions="text"), **options)
    metric = ActivationPatching(tokens, LogProbability(40), ["last"])
    with pytest.raises(HookError, match="measures logits"):
        decoder().run(tokens(), metric, **options)


def test_a_row_left_out_of_at_is_said() -> None:
    vlm = tiny_vlm()
    for at in ({1: "last"}, {0: "last", 1: []}):
        with pytest.raises(PositionError, match="one position in each row.*got 0 in row"):
            vlm.run(tiny_inputs(vlm), GradientTimesInput(40, at=at))

"""No hook outlives the block that added it, however the block ends."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vlm_lens import HookedVLM

NAMES = ["vision.hook_embed", "blocks.0.attn.hook_pattern", "blocks.1.attn.hook_mask", "blocks.1.ln1.hook_scale",
         "blocks.1.attn.hook_result", "unembed.hook_out"]  # fmt: skip
ERRORS = [ValueError("asked for"), KeyboardInterrupt()]


def failing(error: BaseException) -> Any:
    def fail(value: Tensor, hook: Any) -> Tensor:
        raise error

    return fail


def n_hooks(vlm: HookedVLM) -> int:
    """Hooks that torch would call, whoever put them there."""
    return sum(len(point._forward_hooks) + len(point._backward_hooks) for point in vlm.hook_dict.values())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_failing_hook_leaves_none(vlm: HookedVLM, inputs: Any, name: str, error: BaseException) -> None:
    others = (lambda name: True, lambda value, hook: None)
    with torch.no_grad():
        before = vlm(inputs)
        with pytest.raises(type(error)):
            vlm.run_with_hooks(inputs, fwd_hooks=[others, (name, failing(error))])
        assert n_hooks(vlm) == 0
        with pytest.raises(type(error)), vlm.hooks(fwd_hooks=[(name, failing(error))]):
            vlm.run_with_cache(inputs, names_filter=lambda name: True)
        assert n_hooks(vlm) == 0
        with pytest.raises(type(error)), vlm.hooks(fwd_hooks=[(name, failing(error))]):
            vlm.generate(inputs, max_new_tokens=2, return_cache=True)
        assert n_hooks(vlm) == 0 and vlm.context_level == 0
        assert torch.equal(vlm(inputs), before)


def test_an_unknown_name_among_others_leaves_none(vlm: HookedVLM, inputs: Any) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        vlm.run_with_hooks(inputs, fwd_hooks=[("hook_embed", failing(ValueError())), ("hook_embedd", failing)])
    assert n_hooks(vlm) == 0


def test_a_consumer_that_fails_leaves_none(vlm: HookedVLM, inputs: Any) -> None:
    def stop(step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vlm.generate(inputs, max_new_tokens=3, return_cache=True, on_token=stop)
    assert n_hooks(vlm) == 0


def test_a_stream_left_early_leaves_none(vlm: HookedVLM, inputs: Any) -> None:
    for step in vlm.stream(inputs, max_new_tokens=5, eos_token_id=(), return_cache=True):
        assert n_hooks(vlm) == 0
        if step.index == 1:
            break
    assert n_hooks(vlm) == 0


def test_a_failing_backward_hook_leaves_none(vlm: HookedVLM, inputs: Any) -> None:
    with pytest.raises(ZeroDivisionError), vlm.hooks(bwd_hooks=[("blocks.0.hook_resid_pre", lambda v, hook: 1 / 0)]):
        vlm(inputs, return_type="loss").backward()
    vlm.zero_grad()
    assert n_hooks(vlm) == 0


def test_nested_blocks_take_away_their_own(vlm: HookedVLM, inputs: Any) -> None:
    seen: list[str] = []
    with vlm.hooks(fwd_hooks=[("hook_embed", lambda value, hook: seen.append("outer"))]):
        with vlm.hooks(fwd_hooks=[("hook_embed", lambda value, hook: seen.append("inner"))]):
            vlm(inputs)
        vlm(inputs)
    vlm(inputs)
    assert seen == ["outer", "inner", "outer"]


def test_permanent_hooks_stay_until_they_are_taken_away(vlm: HookedVLM, inputs: Any) -> None:
    seen: list[str] = []
    vlm.add_perma_hook("hook_embed", lambda value, hook: seen.append(hook.name))
    vlm.add_hook("blocks.0.hook_resid_pre", lambda value, hook: seen.append(hook.name))
    vlm.run_with_cache(inputs)
    vlm.reset_hooks()
    vlm(inputs)
    vlm.reset_hooks(including_permanent=True)
    vlm(inputs)
    assert seen == ["hook_embed", "blocks.0.hook_resid_pre", "hook_embed"]

"""`hook_mask` blocks edges of attention, keeps it fused, and can grant nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from einops import repeat
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut, distance
from vlm_lens import HookedVLM
from vlm_lens.errors import HookError

MASK, PATTERN = "blocks.1.attn.hook_mask", "blocks.1.attn.hook_pattern"


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """One entry for each call of the fused kernel."""
    calls: list[Any] = []
    kernel = functional.scaled_dot_product_attention

    def counted(*args: Any, **options: Any) -> Tensor:
        calls.append(options["attn_mask"])
        return kernel(*args, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    yield calls


def block(mask: Tensor, hook: Any) -> Tensor:
    mask[:, :, 10:, 5:8] = False
    return mask


@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "unpadded"])
def test_a_blocked_edge_has_no_weight_and_the_rest_renormalises(vlm: HookedVLM, is_padded: bool) -> None:
    inputs = tiny_inputs(vlm, is_padded)
    with vlm.hooks(fwd_hooks=[(MASK, block)]):
        _, blocked = vlm.run_with_cache(inputs)
    _, clean = vlm.run_with_cache(inputs)
    pattern = blocked[PATTERN]
    assert clean[PATTERN][:, :, 10:, 5:8].max() > 0
    assert torch.equal(pattern[:, :, 10:, 5:8], torch.zeros_like(pattern[:, :, 10:, 5:8]))
    sums = pattern.sum(dim=-1)[inputs.attention_mask.bool()[:, None].expand_as(pattern[..., 0])]
    torch.testing.assert_close(sums, torch.ones_like(sums))
    expected = clean[PATTERN][:, :, 10:].clone()
    expected[..., 5:8] = 0
    expected = expected / expected.sum(dim=-1, keepdim=True).clamp(min=1e-30)
    torch.testing.assert_close(pattern[:, :, 10:], expected)


def test_one_head_can_be_blocked_alone(vlm: HookedVLM, inputs: Any) -> None:
    def block_head(mask: Tensor, hook: Any) -> Tensor:
        for_each_head = repeat(mask, "batch 1 query key -> batch head query key", head=4).clone()
        for_each_head[:, 2, 10:, 5:8] = False
        return for_each_head

    with torch.no_grad():
        with vlm.hooks(fwd_hooks=[(MASK, block_head)]):
            logits, cache = vlm.run_with_cache(inputs)
        _, clean = vlm.run_with_cache(inputs)
        expected = WrittenOut(
            tiny_checkpoint(), lambda name, value: block_head(value, None) if name == MASK else value
        ).logits(inputs)
    is_real = inputs.attention_mask.bool()
    assert distance(logits[is_real], expected[is_real]) <= 1e-5
    assert cache[PATTERN][:, 2, 10:, 5:8].max() == 0
    others = [0, 1, 3]
    assert torch.equal(cache[PATTERN][:, others], clean[PATTERN][:, others])


@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "unpadded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_cannot_grant_what_causality_window_and_padding_forbid(family: str, is_padded: bool) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm, is_padded)
    grant = [(lambda name: name.endswith("hook_mask"), lambda mask, hook: torch.ones_like(mask))]
    with torch.no_grad(), vlm.hooks(fwd_hooks=grant):
        logits, cache = vlm.run_with_cache(inputs)
    with torch.no_grad():
        alone, clean = vlm.run_with_cache(inputs)
    is_real = inputs.attention_mask.bool()
    assert distance(logits[is_real], alone[is_real]) <= 1e-5
    assert torch.equal(cache[PATTERN] > 0, clean[PATTERN] > 0)


def test_a_query_without_a_key_is_refused(vlm: HookedVLM, inputs: Any) -> None:
    def block_all(mask: Tensor, hook: Any) -> Tensor:
        mask[:, :, 12] = False
        return mask

    with pytest.raises(HookError, match=r"keep at least one key, got none for query position 12\."):
        vlm.run_with_hooks(inputs, fwd_hooks=[(MASK, block_all)])


def test_a_mask_of_another_shape_is_refused(vlm: HookedVLM, inputs: Any) -> None:
    with pytest.raises(HookError, match="Hook on blocks.1.attn.hook_mask: expected .* got shape"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(MASK, lambda mask, hook: mask.expand(-1, 3, -1, -1))])


def test_the_kernel_runs_in_every_layer_whose_scores_and_pattern_are_not_written(
    vlm: HookedVLM, inputs: Any, kernel_calls: list[Any]
) -> None:
    def calls_with(*hooks: Any) -> int:
        kernel_calls.clear()
        vlm.run_with_hooks(inputs, fwd_hooks=list(hooks))
        return len(kernel_calls)

    everywhere = 4  # two vision blocks before the features, two of the decoder
    assert calls_with() == everywhere
    assert calls_with((MASK, block)) == everywhere + 1  # the queries that lost a key are read again, they alone
    assert calls_with((PATTERN, lambda pattern, hook: None)) == everywhere
    assert calls_with((MASK, block), (PATTERN, lambda pattern, hook: None)) == everywhere + 1
    assert calls_with((PATTERN, lambda pattern, hook: pattern.flip(-1))) == everywhere - 1
    assert calls_with((lambda name: name.endswith("hook_pattern"), lambda pattern, hook: pattern.flip(-1))) == 0


def test_the_kernel_is_given_no_mask_where_its_causal_flag_is_enough(vlm: HookedVLM, kernel_calls: list[Any]) -> None:
    vlm(tiny_inputs(vlm, is_padded=False))
    assert kernel_calls == [None] * 4


@pytest.mark.parametrize("family", FAMILIES)
def test_blocked_values_move_nothing(family: str) -> None:
    """Whatever the blocked keys hold, the queries that may not see them stay as they are."""
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)

    def scramble(value: Tensor, hook: Any) -> Tensor:
        value[:, 5:8] = 100 * torch.randn(value[:, 5:8].shape)
        return value

    with torch.no_grad():
        hooks = [(MASK, block)]
        blocked = vlm.run_with_hooks(inputs, fwd_hooks=hooks)
        moved = vlm.run_with_hooks(inputs, fwd_hooks=[*hooks, ("blocks.1.attn.hook_v", scramble)])
    assert torch.equal(blocked[:, 10:], moved[:, 10:])
    assert not torch.equal(blocked[:, 5:10], moved[:, 5:10])


@pytest.mark.parametrize("family", FAMILIES)
def test_queries_that_lost_no_key_keep_their_bits(family: str) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm, is_padded=False)
    with torch.no_grad():
        clean, blocked = vlm(inputs), vlm.run_with_hooks(inputs, fwd_hooks=[(MASK, block)])
    assert torch.equal(blocked[:, :10], clean[:, :10])
    assert not torch.equal(blocked[:, 10:], clean[:, 10:])

"""Gradients flow through everything that is read, and reading with autograd on changes no logit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut, distance
from vlm_lens import HookedVLM

OWN_INPUTS = ("hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in")
BESIDE = ("hook_pattern", "hook_attn_scores", "hook_normalized", "hook_scale", "hook_result")


def weighted(logits: Tensor, inputs: Any) -> Tensor:
    """A number that every real logit moves."""
    weights = torch.sin(torch.arange(logits.numel(), dtype=logits.dtype)).view_as(logits)
    return (logits * weights)[inputs.attention_mask.bool()].sum()


def ours(vlm: HookedVLM, inputs: Any, is_read: Callable[[str], bool]) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits and the gradient at every activation that is read; zero where it is behind the features."""
    read: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        if value.is_floating_point():
            read[hook.name] = value

    logits = vlm.run_with_hooks(inputs, fwd_hooks=[(is_read, keep)])
    gradients = torch.autograd.grad(weighted(logits, inputs), list(read.values()), materialize_grads=True)
    return logits, dict(zip(read, gradients, strict=True))


def expected(checkpoint: Any, inputs: Any, splits_inputs: bool) -> dict[str, Tensor]:
    read: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        read[name] = value.clone()  # the stream, say, and what the MLP reads of it are two
        return read[name]

    logits = WrittenOut(checkpoint, keep, splits_inputs).logits(inputs)
    gradients = torch.autograd.grad(weighted(logits, inputs), list(read.values()), materialize_grads=True)
    return dict(zip(read, gradients, strict=True))


@pytest.mark.parametrize("splits_inputs", [False, True], ids=["shared input", "an input for each head"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_gradient_is_that_of_plain_arithmetic(family: str, splits_inputs: bool) -> None:
    checkpoint, vlm = tiny_checkpoint(family), tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    alone = vlm(inputs)
    reference = expected(checkpoint, inputs, splits_inputs)
    logits, gradients = ours(vlm, inputs, lambda name: name in reference)
    assert torch.equal(logits, alone)
    assert set(gradients) == set(reference)
    behind = {point.name for point in vlm.behind_features}
    for name, gradient in reference.items():
        assert (gradient.abs().max() > 0) == (name not in behind), name
        assert distance(gradients[name], gradient) <= 1e-4, name


@pytest.mark.parametrize("ending", BESIDE)
def test_what_is_computed_beside_the_fast_path_alone_has_its_gradient(vlm: HookedVLM, inputs: Any, ending: str) -> None:
    reference = expected(tiny_checkpoint(), inputs, splits_inputs=False)
    logits, gradients = ours(vlm, inputs, lambda name: name == f"blocks.0.{_room(ending)}{ending}")
    assert torch.equal(logits, vlm(inputs))
    for name, gradient in gradients.items():
        assert distance(gradient, reference[name]) <= 1e-4, name
    assert len(gradients) == 1


def _room(ending: str) -> str:
    return "ln2." if ending in ("hook_scale", "hook_normalized") else "attn."


def test_weights_have_the_same_gradients_whoever_reads(vlm: HookedVLM, inputs: Any) -> None:
    weights = [vlm.blocks[0].attn.q_proj.weight, vlm.vision.blocks[0].mlp.mlp_in.weight, vlm.embed.W_E]
    plain = torch.autograd.grad(weighted(vlm(inputs), inputs), weights)
    reader = [(lambda name: name.endswith(BESIDE), lambda value, hook: None)]
    logits = vlm.run_with_hooks(inputs, fwd_hooks=reader)
    for ours_, theirs in zip(torch.autograd.grad(weighted(logits, inputs), weights), plain, strict=True):
        assert distance(ours_, theirs) <= 1e-4


def test_backward_hooks_see_every_gradient(vlm: HookedVLM, inputs: Any) -> None:
    seen: dict[str, Tensor] = {}
    behind = {point.name for point in vlm.behind_features}
    live = {name for name in vlm.hook_dict if name not in behind and not name.endswith((*OWN_INPUTS, "hook_mask"))}
    reference = expected(tiny_checkpoint(), inputs, splits_inputs=False)

    def see(gradient: Tensor, hook: Any) -> None:
        seen[hook.name] = gradient

    with vlm.hooks(bwd_hooks=[(lambda name: name in live, see)]):
        weighted(vlm(inputs), inputs).backward()
    vlm.zero_grad()
    assert set(seen) == live
    for name in live:
        assert distance(seen[name], reference[name]) <= 1e-4, name


def test_backward_hooks_can_stop_a_gradient(vlm: HookedVLM, inputs: Any) -> None:
    name, w_q = "blocks.1.attn.hook_pattern", vlm.blocks[1].attn.q_proj.weight
    with vlm.hooks(bwd_hooks=[(name, lambda gradient, hook: torch.zeros_like(gradient))]):
        logits = vlm(inputs)
        gradient = torch.autograd.grad(weighted(logits, inputs), w_q)[0]
    assert torch.equal(logits, vlm(inputs))
    assert gradient.abs().max() == 0
    assert torch.autograd.grad(weighted(vlm(inputs), inputs), w_q)[0].abs().max() > 0


@pytest.mark.parametrize("names", [None, lambda name: name.endswith(BESIDE)], ids=["default", "beside"])
def test_a_cache_can_hold_the_gradients_of_the_loss(vlm: HookedVLM, inputs: Any, names: Any) -> None:
    alone = vlm(inputs, return_type="loss")
    loss, cache = vlm.run_with_cache(inputs, return_type="loss", incl_bwd=True, names_filter=names)
    vlm.zero_grad()
    assert torch.equal(loss, alone)
    behind = {point.name for point in vlm.behind_features}
    values = {name for name in cache if not name.endswith("_grad")}
    with_gradient = {name for name in values if name not in behind and not name.endswith("hook_mask")}
    assert {name for name in cache if name.endswith("_grad")} == {f"{name}_grad" for name in with_gradient}
    read: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        read[hook.name] = value

    again = vlm.run_with_hooks(inputs, return_type="loss", fwd_hooks=[(lambda name: name in with_gradient, keep)])
    for name, gradient in zip(read, torch.autograd.grad(again, list(read.values())), strict=True):
        assert cache[f"{name}_grad"].shape == cache[name].shape
        assert distance(cache[f"{name}_grad"], gradient) <= 1e-5, name

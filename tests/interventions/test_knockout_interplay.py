"""A knockout beside what else a model can do: caches, hooks, losses, parts of a run, gradients, half precision.

The other side is plain transformers with the edges listed one by one; bounds are 1e-5 of the largest value in fp32.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.interventions.plain_transformers import Edge, Plain, edges
from tests.interventions.scenes_of_numbers import checkpoint, mapping, patch_mask, rows_of
from tests.tiny_models import IMAGE, IMAGE_TOKEN, Variant, new_llava, qwen2, real, tiny_inputs
from vlm_lens import AttentionKnockout, HookedTransformer, HookedVLM, Inputs
from vlm_lens.errors import HookError
from vlm_lens.model.key_value_cache import KeyValueCache

FAMILY = "grouped heads"
LAST = AttentionKnockout("last", "image", layers=[1, 2])
TOWER = AttentionKnockout("cls", "patches", layers=[0, 1], tower="vision")


@pytest.fixture
def vlm() -> HookedVLM:
    return HookedVLM.from_hf(checkpoint(FAMILY))


@pytest.fixture
def given() -> dict[str, Tensor]:
    return mapping(FAMILY)


@pytest.fixture
def inputs(vlm: HookedVLM, given: dict[str, Tensor]) -> Inputs:
    return vlm.as_inputs(given)


def last_edges(given: dict[str, Tensor], layers: Any = (1, 2)) -> set[Edge]:
    rows = rows_of(FAMILY, given)
    return {edge for row in rows for edge in edges("decoder", layers, range(4), row.number, {row.last}, row.image)}


def tower_edges(given: dict[str, Tensor]) -> set[Edge]:
    rows = rows_of(FAMILY, given)
    return {
        edge for row in rows for edge in edges("vision", [0, 1], range(4), row.number, row.cls, row.seen | row.unseen)
    }


def off(ours: Tensor, slow: Tensor) -> float:
    """The largest difference, in units of the largest value."""
    return float((ours.float() - slow.float()).abs().max() / slow.float().abs().max())


@torch.no_grad()
def test_caches_and_hooks_see_the_blocked_model(vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs) -> None:
    plain = Plain(checkpoint(FAMILY))
    slow = plain.logits(given, last_edges(given) | tower_edges(given))
    with vlm.attach(LAST, TOWER):
        logits, cache = vlm.run_with_cache(inputs)
        hooked = vlm.run_with_hooks(inputs, fwd_hooks=[("hook_embed", lambda stream, hook: None)])
        loss = vlm(inputs, return_type="loss")
    assert off(real(logits, given["attention_mask"]), real(slow, given["attention_mask"])) <= 1e-5
    assert torch.equal(logits, hooked)
    for layer in range(4):
        ours = real(cache["pattern", layer].transpose(1, 2), given["attention_mask"])
        theirs = real(plain.patterns["decoder", layer].transpose(1, 2), given["attention_mask"])
        assert float((ours - theirs).abs().max()) <= 1e-5
        assert bool((cache["pattern", layer][0, :, -1, 2:18] == 0).all()) == (layer in (1, 2))
        assert float((cache.vision["pattern", layer] - plain.patterns["vision", layer]).abs().max()) <= 1e-5
    is_target = given["attention_mask"].bool() & (given["input_ids"] != IMAGE_TOKEN)
    picked = slow.log_softmax(dim=-1)[:, :-1].gather(-1, given["input_ids"][:, 1:, None]).squeeze(-1)
    keep = is_target[:, 1:] & given["attention_mask"][:, :-1].bool()
    assert abs(float(loss) + float(picked[keep].mean())) <= 1e-5


@torch.no_grad()
def test_a_hook_of_transformer_lens_blocks_beside_it(vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs) -> None:
    def block_first_key(mask: Tensor, hook: Any) -> Tensor:
        mask[..., -1, 4] = False
        mask[..., -2, 5] = False
        return mask

    more = {edge for row in (0, 1) for query, key in ((23, 4), (22, 5))
            for edge in edges("decoder", [1], range(4), row, [query], [key])}  # fmt: skip
    slow = real(Plain(checkpoint(FAMILY)).logits(given, last_edges(given) | more), given["attention_mask"])
    with vlm.attach(LAST), vlm.hooks(fwd_hooks=[("blocks.1.attn.hook_mask", block_first_key)]):
        after = vlm(inputs)
    with vlm.hooks(fwd_hooks=[("blocks.1.attn.hook_mask", block_first_key)]):
        before = vlm.run(inputs, LAST).logits
    assert torch.equal(before, after)
    assert off(real(after, given["attention_mask"]), slow) <= 1e-5
    with (
        vlm.hooks(fwd_hooks=[("blocks.1.attn.hook_mask", lambda mask, hook: mask & False)]),
        pytest.raises(HookError, match="every query to keep at least one key"),
    ):
        vlm.run(inputs, LAST)


@torch.no_grad()
def test_written_scores_and_patterns_are_blocked_too(vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs) -> None:
    slow = real(Plain(checkpoint(FAMILY)).logits(given, last_edges(given)), given["attention_mask"])
    for name in ("blocks.1.attn.hook_pattern", "blocks.1.attn.hook_attn_scores"):
        with vlm.hooks(fwd_hooks=[(name, lambda values, hook: values.clone())]):
            ours = vlm.run(inputs, LAST).logits
        assert off(real(ours, given["attention_mask"]), slow) <= 1e-5


@torch.no_grad()
def test_a_run_of_some_layers_is_blocked_in_these(vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs) -> None:
    whole = vlm.run(inputs, LAST).logits
    with vlm.attach(LAST):
        stream = vlm(inputs, stop_at_layer=2)
    with vlm.attach(AttentionKnockout("last", "image", layers=[2])):
        assert torch.equal(vlm(inputs, start_at_layer=2), vlm.run(inputs, LAST, start_at_layer=2).logits)
    numbers = AttentionKnockout(-1, [*range(4, 18)], layers=[1, 2])
    row = vlm.run(inputs.row(0), numbers).logits
    one = vlm.run(inputs.row(0), numbers, stop_at_layer=2).logits
    # A stream has no roles; positions by number mean what they meant.
    assert torch.equal(vlm.run(one, numbers, start_at_layer=2).logits, row)
    assert off(vlm(inputs, start_at_layer=0), vlm(inputs)) == 0 and stream.shape == (2, 24, 24)
    assert not torch.equal(whole, vlm(inputs))


@torch.no_grad()
def test_a_cached_loop_of_ones_own_is_blocked_at_every_step(
    vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs
) -> None:
    knockout = AttentionKnockout("predicting", "image")
    run = vlm.generate(inputs, knockout, max_new_tokens=4, eos_token_id=())
    past = KeyValueCache(vlm.cfg.n_layers, capacity=32)
    with vlm.attach(knockout):
        steps = [vlm(inputs, past=past)[:, -1]]
        for step in range(3):
            steps.append(vlm(run.tokens[:, step : step + 1], past=past)[:, -1])
    # generate unembeds the last row alone, in another kernel.
    torch.testing.assert_close(torch.stack(steps, dim=1), run.logits, atol=1e-5, rtol=1e-5)


def test_gradients_flow_through_it_and_equal_the_slow_ones(
    vlm: HookedVLM, given: dict[str, Tensor], inputs: Inputs
) -> None:
    hf = checkpoint(FAMILY)
    names = (
        "multi_modal_projector.linear_2.weight",
        "layers.1.self_attn.v_proj.weight",
        "layers.2.self_attn.q_proj.weight",
        "layers.0.mlp.up_proj.weight",
        "layers.0.self_attn.k_proj.weight",
    )
    weights = [one for name, one in hf.named_parameters() if name.endswith(names)]
    assert len(weights) >= len(names)
    random = torch.Generator().manual_seed(0)
    direction = torch.randn(500, generator=random)
    slow = (Plain(hf).logits(given, last_edges(given) | tower_edges(given))[:, -1] @ direction).sum()
    wanted = torch.autograd.grad(slow, weights, allow_unused=True)
    with vlm.attach(LAST, TOWER):
        ours = (vlm(inputs)[:, -1] @ direction).sum()
        found = torch.autograd.grad(ours, weights, allow_unused=True)
    clean = torch.autograd.grad((vlm(inputs)[:, -1] @ direction).sum(), weights, allow_unused=True)
    compared = 0
    for one, other, free in zip(found, wanted, clean, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None and free is not None:
            assert off(one, other) <= 1e-4  # sums over all positions and heads: ten times the values' own rounding
            compared += float((one - free).abs().max()) > 1e-3
    assert compared >= len(names)


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 0.06), (torch.float16, 0.01)], ids=str)
@torch.no_grad()
def test_half_precision_blocks_as_exactly(dtype: torch.dtype, bound: float) -> None:
    hf = new_llava(Variant(qwen2)).to(dtype)
    given = tiny_inputs(hf, [(2, IMAGE, 6), (1, IMAGE, 4)])
    given["pixel_values"] = given["pixel_values"].to(dtype)
    vlm = HookedVLM.from_hf(hf)
    run = vlm.run(vlm.as_inputs(given), LAST, names_filter="blocks.1.attn.hook_pattern")
    slow = Plain(hf).logits(given, last_edges(given))
    # Each side rounds at other places: some units in the last place (2 ** -8, 2 ** -11) through three layers.
    assert off(real(run.logits, given["attention_mask"]), real(slow, given["attention_mask"])) <= bound
    assert run.cache is not None
    assert bool((run.cache["blocks.1.attn.hook_pattern"][0, :, -1, 2:18] == 0).all())
    clean = vlm(vlm.as_inputs(given))
    assert torch.equal(clean[:, :-1], run.logits[:, :-1]) and not torch.equal(clean[:, -1], run.logits[:, -1])


@torch.no_grad()
def test_of_two_pictures_in_a_row_the_one_that_is_meant_is_blocked() -> None:
    hf = checkpoint(FAMILY)
    vlm, given = HookedVLM.from_hf(hf), tiny_inputs(hf, [(1, IMAGE, 2, IMAGE, 3), (2, IMAGE, 1, IMAGE, 1)])
    inputs = vlm.as_inputs(given)
    second = inputs.layout.patches(patch_mask({3, 4}), image=1, row=1)
    start = given["input_ids"][1].tolist().index(IMAGE_TOKEN) + 16 + 1
    assert given["input_ids"][1, start] == IMAGE_TOKEN != given["input_ids"][1, start - 1]
    blocked = edges("decoder", range(4), range(4), 1, [given["input_ids"].shape[1] - 1], [start + 3, start + 4])
    rest = set(range(1, 17)) - {4, 5}
    blocked |= edges("vision", range(5), range(4), 3, {4, 5}, rest)  # the fourth picture of the batch
    ours = vlm.run(inputs, AttentionKnockout("last", second), AttentionKnockout(second, ~second, tower="vision")).logits
    slow = Plain(hf).logits(given, blocked)
    assert off(real(ours, given["attention_mask"]), real(slow, given["attention_mask"])) <= 1e-5
    assert torch.allclose(ours[0], vlm(inputs)[0], atol=1e-5)


@torch.no_grad()
def test_layers_with_and_without_a_window_are_each_looked_at() -> None:
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    hf = new_llava(Variant(lambda: qwen2(use_sliding_window=True, sliding_window=4, layer_types=kinds)))
    vlm, given = HookedVLM.from_hf(hf), tiny_inputs(hf, [(2, IMAGE, 6)])
    ours = vlm.run(vlm.as_inputs(given), AttentionKnockout("last", "image")).logits  # in layer 0 out of its sight
    slow = Plain(hf).logits(given, edges("decoder", range(3), range(4), 0, [23], range(2, 18)))
    assert off(ours, slow) <= 1e-5
    assert off(vlm(vlm.as_inputs(given)), slow) > 1e-3


@torch.no_grad()
def test_a_decoder_alone_is_blocked_by_number_and_name() -> None:
    hf = checkpoint(FAMILY)
    causal = LlamaForCausalLM(hf.config.text_config)
    causal.model, causal.lm_head = hf.model.language_model, hf.lm_head
    given = mapping(FAMILY)
    tokens = given["input_ids"].where(given["input_ids"] != IMAGE_TOKEN, 300)
    text = {"input_ids": tokens, "attention_mask": given["attention_mask"]}
    knockout = AttentionKnockout("last", {0: range(2, 18), 1: range(4, 20)}, layers=[1, 2])
    ours = HookedTransformer.from_hf(causal.eval()).run(text, knockout).logits
    slow = Plain(hf).logits(text, last_edges(given))
    assert off(real(ours, text["attention_mask"]), real(slow, text["attention_mask"])) <= 1e-5

"""Weights in TransformerLens's form are the checkpoint's own; a linear that has none still runs."""

from typing import Any

import pytest
import torch
from einops import einsum
from torch import Tensor, nn

from tests.model.tiny_vlms import FAMILIES, new_checkpoint, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import distance
from vlm_lens import HookedTransformer, HookedVLM
from vlm_lens.errors import WeightsError
from vlm_lens.model.cache import ActivationCache


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest) -> tuple[HookedVLM, ActivationCache]:
    vlm = tiny_vlm(request.param)
    with torch.no_grad():
        return vlm, vlm.run_with_cache(tiny_inputs(vlm), names_filter=lambda name: True)[1]


@pytest.fixture(params=["decoder", "vision"])
def tower(request: pytest.FixtureRequest, run: Any) -> tuple[HookedTransformer, ActivationCache]:
    vlm, cache = run
    return (vlm, cache) if request.param == "decoder" else (vlm.vision, cache.vision)


def n_bytes(model: nn.Module) -> int:
    """Bytes of the storages that hold parameters, each counted once."""
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in model.parameters()}
    return sum(storages.values())


def test_hooking_copies_no_weight() -> None:
    checkpoint = tiny_checkpoint()
    vlm = HookedVLM.from_hf(checkpoint)
    assert {one.data_ptr() for one in vlm.parameters()} == {one.data_ptr() for one in checkpoint.parameters()}
    assert n_bytes(vlm) == n_bytes(checkpoint)


def test_the_weights_of_a_layer_are_views_of_the_checkpoint(vlm: HookedVLM) -> None:
    checkpoint = tiny_checkpoint()
    layer, block = checkpoint.model.language_model.layers[1], vlm.blocks[1]
    views = {
        layer.self_attn.q_proj: block.attn.W_Q,
        layer.self_attn.k_proj: block.attn._W_K,
        layer.self_attn.v_proj: block.attn._W_V,
        layer.self_attn.o_proj: block.attn.W_O,
        layer.mlp.up_proj: block.mlp.W_in,
        layer.mlp.gate_proj: block.mlp.W_gate,
        layer.mlp.down_proj: block.mlp.W_out,
        checkpoint.model.language_model.embed_tokens: vlm.W_E,
        checkpoint.lm_head: vlm.W_U,
    }
    for module, view in views.items():
        assert view.data_ptr() == module.weight.data_ptr()
    tower = checkpoint.model.vision_tower.encoder.layers[0]
    assert vlm.vision.blocks[0].attn.W_K.data_ptr() == tower.self_attn.k_proj.weight.data_ptr()
    assert vlm.vision.blocks[0].mlp.b_in.data_ptr() == tower.mlp.fc1.bias.data_ptr()


def test_weights_take_each_hook_to_the_next(tower: Any) -> None:
    model, cache = tower
    cfg = model.cfg
    for layer, block in enumerate(model.blocks):
        name = f"blocks.{layer}"
        normed = cache[f"{name}.ln1.hook_normalized"] * block.ln1.w
        normed = normed if block.ln1.b is None else normed + block.ln1.b
        group = cfg.n_heads // cfg.n_kv
        for kind, weight, bias in (
            ("q", block.attn.W_Q, block.attn.b_Q),
            ("k", block.attn.W_K, block.attn.b_K),
            ("v", block.attn.W_V, block.attn.b_V),
        ):
            assert weight.shape == (cfg.n_heads, cfg.d_model, cfg.d_head) and bias.shape == (cfg.n_heads, cfg.d_head)
            made = einsum(normed, weight, "batch pos d_model, head d_model d_head -> batch pos head d_head") + bias
            hooked = cache[kind, layer]
            hooked = hooked if kind == "q" else hooked.repeat_interleave(group, dim=2)
            assert distance(made, hooked) <= 1e-5
        z = cache["z", layer]
        made = einsum(z, block.attn.W_O, "batch pos head d_head, head d_head d_model -> batch pos d_model")
        assert distance(made + block.attn.b_O, cache["attn_out", layer]) <= 1e-5
        assert distance(cache["post", layer] @ block.mlp.W_out + block.mlp.b_out, cache["mlp_out", layer]) <= 1e-5
        normed = cache[f"{name}.ln2.hook_normalized"] * block.ln2.w
        normed = normed if block.ln2.b is None else normed + block.ln2.b
        hidden = normed @ block.mlp.W_in + block.mlp.b_in
        assert (
            distance(hidden, cache[f"{name}.mlp.hook_pre_linear" if cfg.gated_mlp else f"{name}.mlp.hook_pre"]) <= 1e-5
        )
        if cfg.gated_mlp:
            assert distance(normed @ block.mlp.W_gate, cache[f"{name}.mlp.hook_pre"]) <= 1e-5
        else:
            assert block.mlp.W_gate is None


def test_factored_products_are_the_products(tower: Any) -> None:
    model, _ = tower
    attention = model.blocks[1].attn
    for head in range(model.cfg.n_heads):
        assert torch.allclose(attention.QK[head].AB, attention.W_Q[head] @ attention.W_K[head].T, atol=1e-6)
        assert torch.allclose(attention.OV[head].AB, attention.W_V[head] @ attention.W_O[head], atol=1e-6)
    shape = (model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_model, model.cfg.d_model)
    assert model.QK.shape == shape and model.OV.shape == shape
    assert torch.equal(model.OV[1, 0].AB, attention.OV[0].AB)


def test_stacked_weights_are_those_of_the_layers(tower: Any) -> None:
    model, _ = tower
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
        assert torch.equal(getattr(model, name)[1], getattr(model.blocks[1].attn, name)), name
    for name in ("W_in", "W_out", "b_in", "b_out"):
        assert torch.equal(getattr(model, name)[1], getattr(model.blocks[1].mlp, name)), name
    if model.cfg.gated_mlp:
        assert torch.equal(model.W_gate[1], model.blocks[1].mlp.W_gate)
    else:
        assert model.W_gate is None


def test_the_accumulated_bias_is_what_the_biases_add(tower: Any) -> None:
    model, _ = tower
    total = torch.zeros(model.cfg.d_model)
    for block in model.blocks[:2]:
        total = total + block.attn.b_O + block.mlp.b_out
    assert torch.equal(model.accumulated_bias(2), total)
    with_attention = model.blocks[0].attn.b_O + model.blocks[0].mlp.b_out + model.blocks[1].attn.b_O
    assert torch.equal(model.accumulated_bias(1, mlp_input=True), with_attention)
    only_attention = model.blocks[0].attn.b_O + model.blocks[1].attn.b_O
    assert torch.equal(model.accumulated_bias(2, include_mlp_biases=False), only_attention)


class Wrapped(nn.Module):
    """What an adapter leaves of a linear: a module around it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.base_layer = linear

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x)


class FakeQuantised(nn.Linear):
    """A linear whose weight is not what it multiplies by."""

    @classmethod
    def of(cls, linear: nn.Linear) -> "FakeQuantised":
        made = cls(linear.in_features, linear.out_features, linear.bias is not None)
        made.load_state_dict(linear.state_dict())
        return made.eval()

    def forward(self, x: Tensor) -> Tensor:
        step = self.weight.abs().max() / 7
        return nn.functional.linear(x, (self.weight / step).round() * step, self.bias)


def with_linears(make: Any) -> nn.Module:
    """A fresh checkpoint, each linear of both towers and the projector replaced."""
    checkpoint = new_checkpoint("biased queries and keys").eval()
    for name, module in list(checkpoint.named_modules()):
        if type(module) is nn.Linear:
            parent, _, leaf = name.rpartition(".")
            setattr(checkpoint.get_submodule(parent), leaf, make(module))
    return checkpoint


@pytest.mark.parametrize("make", [Wrapped, FakeQuantised.of], ids=["wrapped", "quantised"])
def test_a_linear_without_a_plain_weight_runs_and_is_hooked(make: Any) -> None:
    checkpoint = with_linears(make)
    vlm = HookedVLM.from_hf(checkpoint)
    inputs = tiny_inputs(vlm)
    with torch.no_grad():
        expected = checkpoint(**inputs).logits
        logits, cache = vlm.run_with_cache(inputs, names_filter=lambda name: True)
        is_real = inputs.attention_mask.bool()
        assert distance(logits[is_real], expected[is_real]) <= 1e-5
        for part in (cache, cache.vision):
            bias = part.model.blocks[0].attn.o_proj(torch.zeros_like(part["z", 0].flatten(2)))
            assert distance(part["result", 0].sum(dim=2) + bias, part["attn_out", 0]) <= 1e-5
        for name in ("blocks.0.attn.hook_result", "vision.blocks.0.attn.hook_result", "blocks.1.hook_q_input"):
            nudged = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda value, hook: value * (1 + 1e-6))])
            assert distance(nudged[is_real], logits[is_real]) <= 1e-4
            assert not torch.equal(nudged, logits)


@pytest.mark.parametrize("make", [Wrapped, FakeQuantised.of], ids=["wrapped", "quantised"])
def test_a_linear_without_a_plain_weight_says_so(make: Any) -> None:
    vlm = HookedVLM.from_hf(with_linears(make))
    message = rf"W_Q of .* is not available: expected a plain linear.* got a {make.__qualname__.split('.')[0]}"
    with pytest.raises(WeightsError, match=message):
        _ = vlm.blocks[0].attn.W_Q
    for model in (vlm, vlm.vision):
        for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "QK", "OV"):
            with pytest.raises(WeightsError, match="activations and hooks work as they are"):
                getattr(model, name)
    with pytest.raises(WeightsError):
        _ = vlm.W_U


def test_a_wrapped_bias_is_not_taken_for_none() -> None:
    vlm = HookedVLM.from_hf(with_linears(Wrapped))
    with pytest.raises(WeightsError, match="bias"):
        _ = vlm.vision.blocks[0].attn.b_O
    with pytest.raises(WeightsError, match="bias"):
        vlm.vision.accumulated_bias(1)


def test_packed_int8_linears_run() -> None:
    """torch's own dynamic quantisation: linears without a parameter. It warns that it will move to another package."""
    with pytest.warns():
        quantised = torch.ao.quantization.quantize_dynamic(
            new_checkpoint("biased queries and keys").eval(), {nn.Linear}, torch.qint8
        )
    vlm = HookedVLM.from_hf(quantised)
    inputs = tiny_inputs(vlm)
    with torch.no_grad():
        logits = vlm(inputs)
        assert torch.equal(vlm.run_with_cache(inputs, names_filter=lambda name: True)[0], logits)
        assert distance(logits, tiny_vlm("biased queries and keys")(inputs)) < 0.2
    with pytest.raises(WeightsError, match=r"got a Linear \(quantised or wrapped\)"):
        _ = vlm.W_Q

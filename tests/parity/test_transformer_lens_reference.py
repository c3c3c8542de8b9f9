"""The decoder's cache is TransformerLens 3.9's, name by name.

`reference/make_reference.py` ran TransformerLens 3.9's own `HookedTransformer` on tiny checkpoints
and merged embeddings; here the same checkpoints are built in `transformers`, and ours looks into
them.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from einops import repeat
from torch import Tensor

from vlm_lens import HookedTransformer

FAMILIES = ("llama", "llama_multi_head", "mistral", "qwen2")
PADDED_FAMILIES = ("llama", "mistral")
TOLERANCE = 1e-5

# Every name of the reference belongs to exactly one group, by how it ends.
GROUPS: dict[str, tuple[str, ...]] = {
    "residual stream": ("hook_resid_pre", "hook_resid_mid", "hook_resid_post"),
    "norms": ("hook_scale", "hook_normalized"),
    "queries, keys, values": ("hook_q", "hook_k", "hook_v"),
    "rotated queries and keys": ("hook_rot_q", "hook_rot_k"),
    "scores": ("hook_attn_scores",),
    "pattern": ("hook_pattern",),
    "head outputs": ("hook_z", "hook_result"),
    "sublayer outputs": ("hook_attn_out", "hook_mlp_out"),
    "mlp": ("hook_mlp_in", "hook_pre", "hook_pre_linear", "hook_post"),
    "unembedding": ("unembed.hook_in", "unembed.hook_out"),
}
SPLIT_INPUTS = ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input")


@dataclass(frozen=True)
class Reference:
    """What TransformerLens 3.9 computed for one tiny checkpoint, and the checkpoint itself."""

    architecture: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    embeddings: Tensor
    logits: Tensor
    plain: dict[str, Tensor]
    split: dict[str, Tensor]
    padded: dict[str, Tensor]
    padded_logits: Tensor | None
    n_padding: int
    order: list[str]


@cache
def load_reference(family: str) -> Reference:
    with np.load(Path(__file__).parent / "reference" / f"{family}.npz") as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    order = json.loads(str(arrays.pop("order")))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    return Reference(
        architecture=about["architecture"],
        config=about["config"],
        weights=part("weights/"),
        embeddings=tensors["embeddings"],
        logits=tensors["logits"],
        plain=part("plain/"),
        split=part("split/"),
        padded=part("padded/"),
        padded_logits=tensors.get("padded_logits"),
        n_padding=about["n_padding"],
        order=order,
    )


@cache
def load_model(family: str) -> HookedTransformer:
    reference = load_reference(family)
    model_class = getattr(transformers, reference.architecture)
    checkpoint = model_class(model_class.config_class(**reference.config)).float().eval()
    checkpoint.load_state_dict(reference.weights, strict=True)
    return HookedTransformer.from_hf(checkpoint)


def run(family: str, names: frozenset[str] | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Our logits and cache from the reference's embeddings; `None` caches every name there is."""
    model, reference = load_model(family), load_reference(family)
    with torch.no_grad():
        logits, activations = model.run_with_cache(
            reference.embeddings,
            start_at_layer=0,
            names_filter=lambda name: names is None or name in names,
        )
    return logits, dict(activations.items())


@cache
def run_plain(family: str) -> tuple[Tensor, dict[str, Tensor]]:
    return run(family, frozenset(load_reference(family).plain))


@cache
def run_all(family: str) -> tuple[Tensor, dict[str, Tensor]]:
    return run(family, None)


def group_of(name: str) -> list[str]:
    """The groups whose endings are the name's own last words."""
    return [
        group
        for group, endings in GROUPS.items()
        if any(name == ending or name.endswith("." + ending) for ending in endings)
    ]


def assert_same(name: str, ours: Tensor, reference: Tensor) -> None:
    """Same shape, same dtype, -inf at the same places, elsewhere equal up to the tolerance."""
    assert ours.shape == reference.shape, f"{name}: {tuple(ours.shape)}, {tuple(reference.shape)}"
    assert ours.dtype == reference.dtype, name
    assert torch.equal(ours.isneginf(), reference.isneginf()), f"{name}: -inf at other places"
    torch.testing.assert_close(ours, reference, rtol=0, atol=TOLERANCE, msg=lambda message: f"{name}: {message}")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_name_of_the_reference_belongs_to_one_group(family: str) -> None:
    for name in load_reference(family).plain:
        assert len(group_of(name)) == 1, name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_name_of_the_reference_is_declared(family: str) -> None:
    reference = load_reference(family)
    assert {*reference.plain, *reference.split} <= set(load_model(family).hook_dict)


@pytest.mark.parametrize("family", FAMILIES)
def test_asked_for_the_names_of_the_reference_the_cache_has_them_and_no_other(family: str) -> None:
    _, activations = run_plain(family)
    assert set(activations) == set(load_reference(family).plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_fire_in_the_order_of_transformer_lens(family: str) -> None:
    _, activations = run_plain(family)
    assert list(activations) == load_reference(family).order


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_those_of_transformer_lens(family: str, group: str) -> None:
    _, activations = run_plain(family)
    names = [name for name in load_reference(family).plain if group_of(name) == [group]]
    assert names, f"the reference has no name in the group {group}"
    for name in names:
        assert_same(name, activations[name], load_reference(family).plain[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformer_lens(family: str) -> None:
    for logits, _ in (run_plain(family), run_all(family)):
        assert_same("logits", logits, load_reference(family).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_split_inputs_of_the_attention_are_those_of_transformer_lens(family: str) -> None:
    _, activations = run_all(family)
    names = [name for name in load_reference(family).split if name.endswith(SPLIT_INPUTS)]
    n_kinds = 4 if family == "llama_multi_head" else 3  # TransformerLens: no attn_in when grouped
    assert len(names) == n_kinds * load_model(family).cfg.n_layers
    for name in names:
        assert_same(name, activations[name], load_reference(family).split[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_hook_at_every_name_at_once_the_activations_stay_the_same(family: str) -> None:
    _, activations = run_all(family)
    reference = load_reference(family)
    for name, expected in reference.plain.items():
        if name not in reference.split:
            assert_same(name, activations[name], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_norm_has_no_head_axis_however_the_inputs_are_split(family: str) -> None:
    """The one departure: TransformerLens then caches the norm of the value's input, head by head."""
    _, activations = run_all(family)
    names = [name for name in load_reference(family).split if ".ln1." in name]
    assert len(names) == 2 * load_model(family).cfg.n_layers
    for name in names:
        per_head = load_reference(family).split[name]
        repeated = repeat(activations[name], "batch pos d -> batch pos head d", head=per_head.shape[2])
        assert_same(name, repeated, per_head)


@pytest.mark.parametrize("family", PADDED_FAMILIES)
def test_with_left_padding_the_activations_are_those_of_transformer_lens(family: str) -> None:
    model, reference = load_model(family), load_reference(family)
    is_real = torch.arange(reference.embeddings.shape[1])[None] >= reference.n_padding
    with torch.no_grad():
        logits, activations = model.run_with_cache(
            reference.embeddings,
            start_at_layer=0,
            attention_mask=is_real.long(),
            names_filter=list(reference.padded),
        )
    assert reference.padded_logits is not None
    assert len(reference.padded) == 5 * model.cfg.n_layers
    for name, expected in reference.padded.items():
        assert_same(name, activations[name], expected)
    assert_same("logits", logits, reference.padded_logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_window_of_the_reference_is_shorter_than_its_sequence(family: str) -> None:
    scores = load_reference(family).plain["blocks.0.attn.hook_attn_scores"]
    positions = torch.arange(scores.shape[-1])
    is_later = positions[None, :] > positions[:, None]
    is_outside = positions[None, :] <= positions[:, None] - load_reference(family).config.get(
        "sliding_window", len(positions)
    )
    assert is_outside.any() == (family == "mistral")
    assert torch.equal(scores.isneginf(), (is_later | is_outside).expand_as(scores))

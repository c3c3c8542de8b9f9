"""The published configurations: built on the meta device, counted, hooked; shrunken, compared with `transformers`.

`published/*.json` have the sizes of the checkpoints that the papers use. No weights are made at full size.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from tests.tiny_models import filled, position_ids, real
from vlm_lens import HookedCLIP, HookedVLM
from vlm_lens.errors import UnsupportedModelError

# Billions of parameters, and decoder layers, heads, heads of keys, d_model, d_mlp as the model cards give them.
LLAVAS: dict[str, tuple[float, tuple[int, int, int, int, int]]] = {
    "llava-1.5-7b": (7.06, (32, 32, 32, 4096, 11008)),
    "llava-1.5-13b": (13.35, (40, 40, 40, 5120, 13824)),
    "bakllava-7b": (7.57, (32, 32, 8, 4096, 14336)),
    "tinyllava-1.1b": (1.41, (22, 32, 4, 2048, 5632)),
    "llava-phi-3-mini": (4.14, (32, 32, 32, 3072, 8192)),
}
CLIP = "clip-vit-large-patch14-336"
CLIP_BILLIONS = 0.43
CLIP_VISION_LAYERS, CLIP_TEXT_LAYERS = 24, 12
SIDE, PATCH = 336, 14

_NORM = ["hook_scale", "hook_normalized"]
_BLOCK = [
    *["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out"],
    *["hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in"],
    *[f"{norm}.{name}" for norm in ("ln1", "ln2") for name in _NORM],
    *[f"attn.hook_{name}" for name in ("q", "k", "v", "mask", "attn_scores", "pattern", "z", "result")],
    *["mlp.hook_pre", "mlp.hook_post"],
]
_ROTARY = ["attn.hook_rot_q", "attn.hook_rot_k"]


def published(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "published" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def meta_llava(name: str) -> HookedVLM:
    with torch.device("meta"):
        return HookedVLM.from_hf(LlavaForConditionalGeneration(LlavaConfig(**published(name))).eval())


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def block_names(n_layers: int, more: list[str], prefix: str = "") -> set[str]:
    return {f"{prefix}blocks.{layer}.{name}" for layer in range(n_layers) for name in [*_BLOCK, *more]}


def encoder_names(prefix: str, n_layers: int, entrance: list[str]) -> set[str]:
    """A tower of LayerNorms in which every head has its own keys."""
    outside = [*entrance, *[f"ln_final.{name}" for name in _NORM]]
    return block_names(n_layers, ["hook_attn_in"], prefix) | {prefix + name for name in outside}


_PIXEL_ENTRANCE = ["hook_patch_embed", "hook_embed", *[f"ln_pre.{name}" for name in _NORM]]


def llava_names(n_layers: int, is_grouped: bool) -> set[str]:
    more = [*_ROTARY, "mlp.hook_pre_linear", *([] if is_grouped else ["hook_attn_in"])]
    outside = ["hook_embed", *[f"ln_final.{name}" for name in _NORM], "unembed.hook_in", "unembed.hook_out"]
    projector = {f"projector.hook_{name}" for name in ("in", "pre", "post", "out")}
    vision = encoder_names("vision.", CLIP_VISION_LAYERS, _PIXEL_ENTRANCE)
    return block_names(n_layers, more) | set(outside) | projector | vision


@pytest.mark.parametrize("name", LLAVAS)
def test_a_published_llava_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig(**published(name)))
    assert round(n_parameters(model) / 1e9, 2) == LLAVAS[name][0]


@pytest.mark.parametrize("name", LLAVAS)
def test_hooking_a_published_llava_adds_and_loses_no_parameter(name: str) -> None:
    assert round(n_parameters(meta_llava(name)) / 1e9, 2) == LLAVAS[name][0]
    assert all(parameter.is_meta for parameter in meta_llava(name).parameters())


@pytest.mark.parametrize("name", LLAVAS)
def test_a_published_llava_has_every_hook_of_its_layers_and_no_other(name: str) -> None:
    n_layers, n_heads, n_kv, *_ = LLAVAS[name][1]
    hooks = meta_llava(name).hook_dict
    assert set(hooks) == llava_names(n_layers, n_kv < n_heads)
    per_layer = 26 if n_kv < n_heads else 27
    assert len(hooks) == per_layer * n_layers + 5 + 4 + 24 * CLIP_VISION_LAYERS + 6


@pytest.mark.parametrize("name", LLAVAS)
def test_the_configs_of_a_published_llava_say_what_was_published(name: str) -> None:
    n_layers, n_heads, n_kv, d_model, d_mlp = LLAVAS[name][1]
    vlm, file = meta_llava(name), published(name)
    cfg, tower = vlm.cfg, vlm.vision.cfg
    assert (cfg.n_layers, cfg.n_heads, cfg.n_kv, cfg.d_model, cfg.d_mlp) == (n_layers, n_heads, n_kv, d_model, d_mlp)
    assert cfg.d_head * n_heads == d_model and cfg.attn_scale == cfg.d_head**0.5
    assert cfg.d_vocab == 32064 and cfg.n_ctx == file["text_config"]["max_position_embeddings"]
    assert cfg.window_sizes == (file["text_config"].get("sliding_window"),) * n_layers
    assert (cfg.normalization_type, cfg.eps, cfg.act_fn, cfg.gated_mlp) == ("RMS", 1e-5, "silu", True)
    assert (cfg.rotary_dim, cfg.rotary_base) == (cfg.d_head, 10000.0)
    assert cfg.original_architecture == "LlavaForConditionalGeneration"
    assert (tower.n_layers, tower.n_heads, tower.d_model, tower.d_mlp) == (CLIP_VISION_LAYERS, 16, 1024, 4096)
    assert tower.n_ctx == (SIDE // PATCH) ** 2 + 1 and tower.has_class_token
    assert (tower.normalization_type, tower.eps, tower.act_fn) == ("LN", 1e-5, "quick_gelu")
    assert tower.attention_dir == "bidirectional" and cfg.attention_dir == "causal"
    assert vlm.features.layers == (-2,) and not vlm.features.keeps_class_token
    assert vlm.image_token_id == file["image_token_index"]


@pytest.mark.parametrize("name", LLAVAS)
def test_behind_the_features_of_a_published_llava_stand_the_last_block_and_the_post_norm(name: str) -> None:
    behind = {point.name for point in meta_llava(name).behind_features}
    prefixes = (f"vision.blocks.{CLIP_VISION_LAYERS - 1}.", "vision.ln_final.")
    assert behind == {hook for hook in meta_llava(name).hook_dict if hook.startswith(prefixes)}


def test_the_published_clip_is_counted_and_hooked() -> None:
    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(**published(CLIP)))
        clip = HookedCLIP.from_hf(model)
    assert round(n_parameters(model) / 1e9, 2) == round(n_parameters(clip) / 1e9, 2) == CLIP_BILLIONS
    text_entrance = ["hook_embed", "hook_pos_embed"]
    expected = (
        encoder_names("vision.", CLIP_VISION_LAYERS, _PIXEL_ENTRANCE)
        | encoder_names("text.", CLIP_TEXT_LAYERS, text_entrance)
        | {"hook_image_embed", "hook_text_embed"}
    )
    assert set(clip.hook_dict) == expected
    assert (clip.text.cfg.n_ctx, clip.text.cfg.d_vocab, clip.text.cfg.n_heads) == (77, 49408, 12)
    assert (clip.vision.cfg.n_heads, clip.vision.cfg.n_ctx) == (16, 577)


def shrunken(name: str) -> dict[str, Any]:
    """The published configuration with fewer and narrower layers; every other entry as published."""
    config = published(name)
    text, vision = config["text_config"], config["vision_config"]
    # Rows of keys per head of queries stay as published; a window stays shorter than the prompt.
    heads = text["num_attention_heads"] // text.get("num_key_value_heads", text["num_attention_heads"])
    text |= {"num_hidden_layers": 2, "num_attention_heads": 2 * heads, "num_key_value_heads": 2}
    text |= {"hidden_size": 16 * heads, "intermediate_size": 40}
    if "sliding_window" in text:
        text["sliding_window"] = 7
    vision |= {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    vision |= {"image_size": 3 * PATCH}
    return config


@pytest.mark.parametrize("name", LLAVAS)
def test_a_shrunken_published_llava_gives_the_logits_of_transformers(name: str) -> None:
    model = filled(LlavaForConditionalGeneration(LlavaConfig(**shrunken(name))))
    n_patches = 9
    tokens = torch.randint(3, 30000, (2, 20), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    tokens[0, 3 : 3 + n_patches] = tokens[1, 8 : 8 + n_patches] = model.config.image_token_id
    mask[1, :5] = 0
    pixels = torch.randn(2, 3, 3 * PATCH, 3 * PATCH, generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": tokens, "attention_mask": mask, "pixel_values": pixels}
    with torch.no_grad():
        theirs = model(**inputs, position_ids=position_ids(mask)).logits
        ours = HookedVLM.from_hf(model)(inputs)
    assert torch.equal(real(ours, mask), real(theirs, mask))


def test_a_shrunken_published_clip_gives_the_similarities_of_transformers() -> None:
    config = published(CLIP)
    vision, text = config["vision_config"], config["text_config"]
    vision |= {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "image_size": 3 * PATCH}
    text |= {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3}
    model = filled(CLIPModel(CLIPConfig(**config)))
    tokens = torch.randint(1, 40000, (2, 9), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = CLIPConfig(**config).text_config.eos_token_id
    pixels = torch.randn(2, 3, 3 * PATCH, 3 * PATCH, generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": tokens, "pixel_values": pixels}
    with torch.no_grad():
        theirs, ours = model(**inputs).logits_per_image, HookedCLIP.from_hf(model)(inputs)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def few_layers(name: str, config_class: Any) -> Any:
    """A published configuration of another family with two layers: what refuses it does not look at their number."""
    config = published(name)
    config["text_config"]["num_hidden_layers"] = 2
    config["vision_config"] |= {
        count: 2 for count in ("depth", "num_hidden_layers") if count in config["vision_config"]
    }
    return config_class(**config)


@pytest.mark.parametrize(
    ("name", "config_class", "model_class"),
    [
        ("qwen2-vl-2b", Qwen2VLConfig, Qwen2VLForConditionalGeneration),
        ("internvl2-76b", InternVLConfig, InternVLForConditionalGeneration),
    ],
)
def test_another_family_is_refused_by_name_with_the_supported_ones(
    name: str, config_class: Any, model_class: Any
) -> None:
    config = few_layers(name, config_class)
    with torch.device("meta"):
        model = model_class(config)
    with pytest.raises(UnsupportedModelError) as refused:
        HookedVLM.from_hf(model)
    assert model_class.__name__ in str(refused.value)
    assert "LlavaForConditionalGeneration" in str(refused.value)

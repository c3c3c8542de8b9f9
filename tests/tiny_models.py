"""Tiny checkpoints of every supported family, made without a network: `transformers` models with random weights.

The weights are scaled so that every layer, head and norm moves the logits: with the usual start (standard
deviation 0.02, zero biases, unit norms) a wrong bias, norm or head would hardly show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from tests.inputs.tiny_processors import LLAVA_CHAT, PATCH, SIDE, SPECIAL, processor_of

IMAGE_TOKEN, PAD_TOKEN = SPECIAL.index("<image>"), SPECIAL.index("<pad>")
N_PATCHES = (SIDE // PATCH) ** 2
D_VOCAB = 500
TEXT_TOKENS = range(len(SPECIAL) + 256, D_VOCAB)  # neither special nor a lone byte
IMAGE = "image"

_DECODER = dict(
    vocab_size=D_VOCAB,
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    rms_norm_eps=1e-5,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=PAD_TOKEN,
)
_TOWER = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    image_size=SIDE,
    patch_size=PATCH,
)


def llama(**changes: Any) -> LlamaConfig:
    return LlamaConfig(**_DECODER | changes)


def mistral(**changes: Any) -> MistralConfig:
    return MistralConfig(**_DECODER | {"sliding_window": 6} | changes)


def qwen2(**changes: Any) -> Qwen2Config:
    return Qwen2Config(**_DECODER | changes)


def clip_vision(**changes: Any) -> CLIPVisionConfig:
    return CLIPVisionConfig(**_TOWER | {"hidden_act": "quick_gelu"} | changes)


def siglip_vision(**changes: Any) -> SiglipVisionConfig:
    return SiglipVisionConfig(**_TOWER | changes)


def _rope(kind: str, **more: float) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


@dataclass(frozen=True)
class Variant:
    """A LLaVA checkpoint: its decoder, its tower, and how one is shown the other."""

    decoder: Callable[[], Any]
    tower: Callable[[], Any] = clip_vision
    options: dict[str, Any] = field(default_factory=dict)


# Scaled rotary positions: prompts here are longer than the length before scaling.
VARIANTS: dict[str, Variant] = {
    "llama": Variant(llama),
    "llama, every head its own keys": Variant(lambda: llama(num_key_value_heads=4)),
    "llama, one head of keys": Variant(lambda: llama(num_key_value_heads=1)),
    "llama, head size of its own": Variant(lambda: llama(head_dim=20)),
    "llama, biased linears": Variant(lambda: llama(attention_bias=True, mlp_bias=True)),
    "llama, tied embeddings": Variant(lambda: llama(tie_word_embeddings=True)),
    "mistral, window shorter than the prompt": Variant(mistral),
    "mistral, no window": Variant(lambda: mistral(sliding_window=None)),
    "qwen2, biased q k v": Variant(qwen2),
    "qwen2, windows in the upper layers": Variant(
        lambda: qwen2(use_sliding_window=True, sliding_window=6, max_window_layers=1)
    ),
    "rotary, linear": Variant(lambda: llama(**_rope("linear", factor=2.0))),
    "rotary, llama3": Variant(
        lambda: llama(
            **_rope(
                "llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=16,
            )
        )
    ),
    "rotary, dynamic": Variant(lambda: llama(max_position_embeddings=24, **_rope("dynamic", factor=2.0))),
    "rotary, yarn": Variant(lambda: llama(**_rope("yarn", factor=16.0, original_max_position_embeddings=16))),
    "features of the last layer": Variant(llama, options={"vision_feature_layer": -1}),
    "features of several layers": Variant(llama, options={"vision_feature_layer": [-2, 1, 0]}),
    "class token kept": Variant(llama, options={"vision_feature_select_strategy": "full"}),
    "projector without bias": Variant(llama, options={"multimodal_projector_bias": False}),
    "siglip": Variant(
        llama, siglip_vision, {"vision_feature_select_strategy": "full", "vision_feature_layer": -1}
    ),
    "siglip, qwen2": Variant(
        qwen2, siglip_vision, {"vision_feature_select_strategy": "full", "vision_feature_layer": -2}
    ),
}  # fmt: skip


def filled(model: Any, seed: int = 0) -> Any:
    """The model in evaluation mode, with weights drawn so that activations keep their size through the layers."""
    random = torch.Generator().manual_seed(seed)
    embeddings = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if parameter.ndim == 0:  # CLIP's temperature
            continue
        if parameter.ndim == 1 and "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * noise
        elif parameter.ndim == 1 or id(parameter) in embeddings:
            value = 0.3 * noise
        else:
            value = 1.5 * noise / parameter[0].numel() ** 0.5
        parameter.data.copy_(value)
    return model.eval()


def llava_config(variant: str | Variant = "llama") -> LlavaConfig:
    chosen = VARIANTS[variant] if isinstance(variant, str) else variant
    return LlavaConfig(
        vision_config=chosen.tower(),
        text_config=chosen.decoder(),
        image_token_id=IMAGE_TOKEN,
        tie_word_embeddings=chosen.decoder().tie_word_embeddings,
        **chosen.options,
    )


@cache
def tiny_llava(variant: str = "llama") -> LlavaForConditionalGeneration:
    """One model a variant, shared by all tests: leave its weights as they are, or build one with `new_llava`."""
    return new_llava(variant)


def new_llava(variant: str | Variant = "llama", seed: int = 0) -> LlavaForConditionalGeneration:
    return filled(LlavaForConditionalGeneration(llava_config(variant)), seed)


def clip_config(end_token: int = 2) -> CLIPConfig:
    """CLIP's config; 2 is what the first checkpoints call their end token, and mean the highest id by it."""
    text = dict(
        vocab_size=D_VOCAB,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=20,
        bos_token_id=1,
        eos_token_id=end_token,
        pad_token_id=PAD_TOKEN,
    )
    return CLIPConfig(text_config=text, vision_config=clip_vision().to_dict(), projection_dim=16)


def new_clip(end_token: int = 2, seed: int = 0) -> CLIPModel:
    return filled(CLIPModel(clip_config(end_token)), seed)


def n_image_tokens(model: LlavaForConditionalGeneration) -> int:
    """How many tokens stand for one picture in this model's prompts."""
    has_class_token = model.config.vision_config.model_type == "clip_vision_model"
    keeps_it = model.config.vision_feature_select_strategy == "full"
    return N_PATCHES + int(has_class_token and keeps_it)


def tiny_inputs(
    model: LlavaForConditionalGeneration, rows: Sequence[Sequence[int | str]], seed: int = 0
) -> dict[str, Tensor]:
    """Random prompts, padded on the left, and random pixels.

    Args:
        model: for which a picture takes as many tokens as it does.
        rows: each row's pieces: a number for so many text tokens, `IMAGE` for a picture.
        seed: of tokens and pixels.
    """
    random = torch.Generator().manual_seed(seed)
    tokens: list[list[int]] = []
    for row in rows:
        tokens.append([])
        for piece in row:
            if piece == IMAGE:
                tokens[-1] += [IMAGE_TOKEN] * n_image_tokens(model)
            else:
                chosen = torch.randint(TEXT_TOKENS.start, TEXT_TOKENS.stop, (int(piece),), generator=random)
                tokens[-1] += chosen.tolist()
    longest = max(map(len, tokens))
    n_pads = [longest - len(row) for row in tokens]
    inputs = {
        "input_ids": torch.tensor([[PAD_TOKEN] * n + row for n, row in zip(n_pads, tokens, strict=True)]),
        "attention_mask": torch.tensor([[0] * n + [1] * (longest - n) for n in n_pads]),
    }
    n_images = sum(piece == IMAGE for row in rows for piece in row)
    if n_images:
        inputs["pixel_values"] = random_pixels(n_images, seed)
    return inputs


def random_pixels(n_images: int, seed: int = 0) -> Tensor:
    """[image channel height width]."""
    return torch.randn(n_images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed + 1000))


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions counted from each row's first real token."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def real(values: Tensor, attention_mask: Tensor) -> Tensor:
    """The values at real positions, one row each."""
    return rearrange(values, "batch pos ... -> (batch pos) ...")[attention_mask.flatten().bool()]


def saved_llava(folder: Path, variant: str = "llama", **options: Any) -> Path:
    """A folder as `save_pretrained` writes it: weights, configs, tokenizer and processor."""
    tiny_llava(variant).save_pretrained(folder, **options)
    processor_of(chat_template=LLAVA_CHAT).save_pretrained(folder)
    return folder

"""Encoders: CLIP's vision and text towers, SigLIP's vision tower."""

from typing import Any

from torch import nn
from transformers import CLIPTextModel, CLIPVisionModel, SiglipVisionModel

from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.parts import BlockParts, TransformerParts

CLASSES = (CLIPVisionModel, SiglipVisionModel, CLIPTextModel)
VISION_TYPES = {"clip_vision_model": "CLIPVisionModel", "siglip_vision_model": "SiglipVisionModel"}


def adapted(model: nn.Module) -> tuple[TransformerConfig, TransformerParts]:
    """The config and the modules of a tower."""
    if isinstance(model, CLIPTextModel):
        return text_config_of(model.config), _text_parts(model)
    return vision_config_of(model.config), vision_parts_of(model)


def _shared_fields(hf: Any) -> dict[str, Any]:
    d_head = hf.hidden_size // hf.num_attention_heads
    return {
        "d_model": hf.hidden_size,
        "d_head": d_head,
        "n_layers": hf.num_hidden_layers,
        "n_heads": hf.num_attention_heads,
        "d_mlp": hf.intermediate_size,
        "device": "cpu",
        "normalization_type": "LN",
        "eps": hf.layer_norm_eps,
        "act_fn": hf.hidden_act,
        "attn_scale": d_head**0.5,
        "window_sizes": (None,) * hf.num_hidden_layers,
    }


def vision_config_of(hf: Any) -> TransformerConfig:
    """TransformerLens's fields from a vision tower's config."""
    has_class_token = hf.model_type == "clip_vision_model"
    height = width = hf.image_size
    n_patches = (height // hf.patch_size) * (width // hf.patch_size)
    return TransformerConfig(
        **_shared_fields(hf),
        n_ctx=n_patches + has_class_token,
        input_type="pixels",
        attention_dir="bidirectional",
        has_class_token=has_class_token,
        image_size=(height, width),
        patch_size=(hf.patch_size, hf.patch_size),
        original_architecture=VISION_TYPES[hf.model_type],
    )


def text_config_of(hf: Any) -> TransformerConfig:
    """TransformerLens's fields from CLIP's text config."""
    return TransformerConfig(
        **_shared_fields(hf),
        n_ctx=hf.max_position_embeddings,
        d_vocab=hf.vocab_size,
        attention_dir="causal",
        original_architecture="CLIPTextModel",
    )


def vision_parts_of(tower: Any) -> TransformerParts:
    """The modules of a vision tower; SigLIP has no class token and no pre-norm."""
    embeddings = tower.embeddings
    return TransformerParts(
        blocks=tuple(_block(layer) for layer in tower.encoder.layers),
        ln_final=tower.post_layernorm,
        patches=embeddings.patch_embedding,
        positions=embeddings.position_embedding,
        class_token=getattr(embeddings, "class_embedding", None),
        ln_pre=getattr(tower, "pre_layrnorm", None),
    )


def _text_parts(tower: Any) -> TransformerParts:
    return TransformerParts(
        blocks=tuple(_block(layer) for layer in tower.encoder.layers),
        ln_final=tower.final_layer_norm,
        tokens=tower.embeddings.token_embedding,
        positions=tower.embeddings.position_embedding,
    )


def _block(layer: Any) -> BlockParts:
    attention, mlp = layer.self_attn, layer.mlp
    return BlockParts(
        ln1=layer.layer_norm1,
        ln2=layer.layer_norm2,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        o=attention.out_proj,
        mlp_in=mlp.fc1,
        mlp_gate=None,
        mlp_out=mlp.fc2,
        activation=mlp.activation_fn,
    )

"""LLaVA: a vision tower, a projector of two linears, a decoder."""

from typing import Any

from torch import nn
from transformers import LlavaForConditionalGeneration

from vlm_lens.errors import UnsupportedModelError
from vlm_lens.model.loading import decoders, encoders
from vlm_lens.model.parts import FeatureSelection, JoinedParts, ProjectorParts

MODEL_TYPE = "llava"
CLASSES = (LlavaForConditionalGeneration,)


def adapted(model: nn.Module) -> JoinedParts:
    """The configs and the modules of both towers and of what joins them."""
    hf: Any = model.config
    inner: Any = model.model
    lm_head: Any = model.lm_head
    layers = hf.vision_feature_layer
    projector = inner.multi_modal_projector
    return JoinedParts(
        decoder_config=decoders.config_of(hf.text_config),
        decoder=decoders.parts_of(inner.language_model, lm_head),
        vision_config=encoders.vision_config_of(hf.vision_config),
        vision=encoders.vision_parts_of(inner.vision_tower),
        projector=ProjectorParts(projector.linear_1, projector.act, projector.linear_2),
        features=FeatureSelection(
            layers=(layers,) if isinstance(layers, int) else tuple(layers),
            keeps_class_token=hf.vision_feature_select_strategy == "full",
        ),
        image_token_id=hf.image_token_index if hasattr(hf, "image_token_index") else hf.image_token_id,
        architecture=type(model).__name__,
    )


def check_parts(hf: Any) -> None:
    """Raise for a tower without an adapter, or a selection of features that has no meaning on a patch grid.

    Raises:
        UnsupportedModelError: with what is supported.
    """
    vision, decoder = hf.vision_config.model_type, hf.text_config.model_type
    if vision not in encoders.VISION_TYPES:
        rule = f"a vision tower of type {', '.join(encoders.VISION_TYPES)}"
        raise UnsupportedModelError("LLaVA with this vision tower has no adapter", rule, vision)
    if decoder not in decoders.MODEL_TYPES:
        rule = f"a decoder of type {', '.join(decoders.MODEL_TYPES)}"
        raise UnsupportedModelError("LLaVA with this decoder has no adapter", rule, decoder)
    if vision == "siglip_vision_model" and hf.vision_feature_select_strategy == "default":
        rule = "vision_feature_select_strategy 'full' for a tower without a class token"
        raise UnsupportedModelError("LLaVA would drop a patch", rule, "'default'", "Set it in the config to 'full'.")

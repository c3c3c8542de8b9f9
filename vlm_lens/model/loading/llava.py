"""LLaVA: a vision tower, a projector of two linears, a decoder."""

from typing import Any

from torch import nn
from transformers import LlavaForConditionalGeneration

from vlm_lens.model.loading import decoders, encoders
from vlm_lens.model.parts import FeatureSelection, JoinedParts, ProjectorParts

MODEL_TYPE = "llava"
CLASSES = (LlavaForConditionalGeneration,)


def adapted(model: nn.Module) -> JoinedParts:
    """The configs and the modules of both towers and of what joins them."""
    hf: Any = model.config
    inner: Any = model.model
    layers = hf.vision_feature_layer
    projector = inner.multi_modal_projector
    return JoinedParts(
        decoder_config=decoders.config_of(hf.text_config),
        decoder=decoders.parts_of(inner.language_model, model.lm_head),
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


def check_parts(hf: Any) -> tuple[str, str] | None:
    """The type of a tower that has no adapter, and what it is for; None where both have one."""
    if hf.vision_config.model_type not in encoders.VISION_TYPES:
        return hf.vision_config.model_type, "vision tower"
    if hf.text_config.model_type not in decoders.MODEL_TYPES:
        return hf.text_config.model_type, "decoder"
    return None

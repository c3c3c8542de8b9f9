"""CLIP: a vision tower and a text tower, each with a projection to the space they share."""

from torch import nn
from transformers import CLIPModel

from vlm_lens.model.loading import encoders
from vlm_lens.model.parts import CLIPParts

MODEL_TYPE = "clip"
CLASSES = (CLIPModel,)


def adapted(model: nn.Module) -> CLIPParts:
    """The configs and the modules of both towers and the projections.

    Raises:
        UnsupportedModelError: for another class.
    """
    assert isinstance(model, CLIPModel)
    return CLIPParts(
        vision=encoders.adapted(model.vision_model),
        text=encoders.adapted(model.text_model),
        visual_projection=model.visual_projection,
        text_projection=model.text_projection,
        logit_scale=model.logit_scale,
        end_token_id=model.text_model.eos_token_id,
    )

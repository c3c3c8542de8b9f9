"""A CLIPSeg checkpoint with random weights, as `save_pretrained` writes one."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessorPil

from tests.inputs.tiny_processors import tokenizer_of

SIDE, PATCH = 32, 8
TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=4)
TOWER = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2)


def new_clipseg(seed: int = 0) -> CLIPSegForImageSegmentation:
    """Weights large enough that every text draws another map."""
    config = CLIPSegConfig(
        text_config={**TOWER, "vocab_size": 500, "max_position_embeddings": 20, **TOKENS},
        vision_config={**TOWER, "image_size": SIDE // 2, "patch_size": PATCH},  # the real one too sees larger squares
        projection_dim=12,
        extract_layers=[0, 1, 3],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    model = CLIPSegForImageSegmentation(config).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.4)
        model.clip.text_model.embeddings.token_embedding.weight.mul_(20)
        for layer in model.decoder.layers:
            layer.layer_norm1.weight.add_(1)
            layer.layer_norm2.weight.add_(1)
        for later in model.decoder.reduces[1:]:  # what the text moves comes first, and is not to be drowned
            later.weight.mul_(0.1)
    return model


def saved_clipseg(folder: Path, seed: int = 0, **image_options: Any) -> Path:
    """A folder with the model and its processor."""
    new_clipseg(seed).save_pretrained(folder)
    given = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.485, 0.456, 0.406], **image_options}
    CLIPSegProcessor(ViTImageProcessorPil(**given), tokenizer_of()).save_pretrained(folder)
    return folder

"""Vision-language models of two decoder layers and three vision blocks, the last behind the features."""

from functools import cache, partial

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tests.tiny_models import IMAGE, PAD_TOKEN, Variant, clip_vision, llama, mistral, new_llava, qwen2
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import HookedVLM
from vlm_lens.inputs import Inputs

_SMALL = dict(num_hidden_layers=2, hidden_size=24, intermediate_size=32)
_TOWER = partial(clip_vision, num_hidden_layers=3, hidden_size=16, intermediate_size=20, num_attention_heads=2)
_VARIANTS = {
    "grouped heads": Variant(lambda: llama(**_SMALL), _TOWER),
    "a key for each head": Variant(lambda: llama(**_SMALL, num_key_value_heads=4), _TOWER),
    "sliding window": Variant(lambda: mistral(**_SMALL), _TOWER),
    "biased queries and keys": Variant(lambda: qwen2(**_SMALL), _TOWER),
}
FAMILIES = tuple(_VARIANTS)


def new_checkpoint(family: str = "grouped heads") -> LlavaForConditionalGeneration:
    return new_llava(_VARIANTS[family])


@cache
def tiny_checkpoint(family: str = "grouped heads") -> LlavaForConditionalGeneration:
    """One model a family, shared by all tests: its weights stay as they are."""
    return new_checkpoint(family)


def tiny_vlm(family: str = "grouped heads") -> HookedVLM:
    return HookedVLM.from_hf(tiny_checkpoint(family))


def tiny_inputs(vlm: HookedVLM, is_padded: bool = True, seed: int = 0) -> Inputs:
    """Two rows with a picture each; the second is padded on the left, or its picture stands elsewhere."""
    rows = [(2, IMAGE, 6), (1, IMAGE, 4)] if is_padded else [(2, IMAGE, 6), (4, IMAGE, 4)]
    return vlm.as_inputs(new_mapping(tiny_checkpoint(), rows, seed))


def padded_on_the_right(inputs: Inputs) -> dict[str, Tensor]:
    """The same prompts with their padding moved behind them."""
    tokens, mask = torch.full_like(inputs.input_ids, PAD_TOKEN), torch.zeros_like(inputs.attention_mask)
    for row, is_real in enumerate(inputs.attention_mask.bool()):
        tokens[row, : is_real.sum()] = inputs.input_ids[row, is_real]
        mask[row, : is_real.sum()] = 1
    return {"input_ids": tokens, "attention_mask": mask, "pixel_values": inputs["pixel_values"]}

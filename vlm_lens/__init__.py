"""The TransformerLens of vision-language models."""

from vlm_lens.hooked_clip import HookedCLIP
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Region, TokenLayout
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.transformer import HookedTransformer

__all__ = [
    "ActivationCache",
    "HookedCLIP",
    "HookedTransformer",
    "HookedVLM",
    "Inputs",
    "Region",
    "TokenLayout",
]

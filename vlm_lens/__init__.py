"""The TransformerLens of vision-language models."""

from vlm_lens.attachments import Reader, Writer
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.hooked_clip import HookedCLIP
from vlm_lens.hooked_transformer import HookedTransformer
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.interventions import (
    AttentionKnockout,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    TopKContext,
    ValueAblation,
    ZeroAblation,
)
from vlm_lens.layout import Except, Region, TokenLayout
from vlm_lens.model.cache import ActivationCache
from vlm_lens.probes import AttentionFlow, AttentionRollout, FlowReading, RegisterReading, RegisterTokens

__all__ = [
    "ActivationCache",
    "AttentionFlow",
    "AttentionKnockout",
    "AttentionRollout",
    "Except",
    "FlowReading",
    "HookedCLIP",
    "HookedTransformer",
    "HookedVLM",
    "Inputs",
    "Mean",
    "MeanAblation",
    "MeanEstimator",
    "NoiseAblation",
    "Reader",
    "Region",
    "RegisterReading",
    "RegisterTokens",
    "ResampleAblation",
    "TokenLayout",
    "TopKContext",
    "ValueAblation",
    "Writer",
    "ZeroAblation",
]

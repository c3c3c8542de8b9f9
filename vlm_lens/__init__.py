"""The TransformerLens of vision-language models."""

from vlm_lens.attachments import Reader, Writer
from vlm_lens.context import CompressedContext
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.hooked_clip import HookedCLIP
from vlm_lens.hooked_transformer import HookedTransformer
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.interventions import (
    ActivationPatch,
    AttentionKnockout,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    Steer,
    TopKContext,
    ValueAblation,
    ZeroAblation,
)
from vlm_lens.layout import Except, Region, TokenLayout
from vlm_lens.model.cache import ActivationCache
from vlm_lens.probes import AttentionFlow, AttentionRollout, FlowReading, LogitLens, RegisterReading, RegisterTokens

__all__ = [
    "ActivationCache",
    "ActivationPatch",
    "AttentionFlow",
    "AttentionKnockout",
    "AttentionRollout",
    "CompressedContext",
    "Except",
    "FlowReading",
    "HookedCLIP",
    "HookedTransformer",
    "HookedVLM",
    "Inputs",
    "LogitLens",
    "Mean",
    "MeanAblation",
    "MeanEstimator",
    "NoiseAblation",
    "Reader",
    "Region",
    "RegisterReading",
    "RegisterTokens",
    "ResampleAblation",
    "Steer",
    "TokenLayout",
    "TopKContext",
    "ValueAblation",
    "Writer",
    "ZeroAblation",
]

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
from vlm_lens.probes import (
    ActivationPatching,
    AttentionFlow,
    AttentionRelevance,
    AttentionRollout,
    DirectLogitAttribution,
    FlowReading,
    GradientTimesInput,
    IntegratedGradients,
    LensReading,
    LogitAttribution,
    LogitDifference,
    LogitLens,
    LogProbability,
    PatchAttribution,
    PatchingGrid,
    Probability,
    RegisterReading,
    RegisterTokens,
)
from vlm_lens.sweeps import Generated, Grid, Logits, Sweep, SweepPlan, SweepResult

__all__ = [
    "ActivationCache",
    "ActivationPatch",
    "ActivationPatching",
    "AttentionFlow",
    "AttentionKnockout",
    "AttentionRelevance",
    "AttentionRollout",
    "CompressedContext",
    "DirectLogitAttribution",
    "Except",
    "FlowReading",
    "Generated",
    "GradientTimesInput",
    "Grid",
    "HookedCLIP",
    "HookedTransformer",
    "HookedVLM",
    "Inputs",
    "IntegratedGradients",
    "LensReading",
    "LogProbability",
    "LogitAttribution",
    "LogitDifference",
    "LogitLens",
    "Logits",
    "Mean",
    "MeanAblation",
    "MeanEstimator",
    "NoiseAblation",
    "PatchAttribution",
    "PatchingGrid",
    "Probability",
    "Reader",
    "Region",
    "RegisterReading",
    "RegisterTokens",
    "ResampleAblation",
    "Steer",
    "Sweep",
    "SweepPlan",
    "SweepResult",
    "TokenLayout",
    "TopKContext",
    "ValueAblation",
    "Writer",
    "ZeroAblation",
]

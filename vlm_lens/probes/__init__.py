"""What reads: each probe is one file over the base in `vlm_lens.attachments`, its result and figures beside it."""

from vlm_lens.probes.attention.attention_flow import AttentionFlow
from vlm_lens.probes.attention.attention_rollout import AttentionRollout
from vlm_lens.probes.attention.flow_reading import FlowReading
from vlm_lens.probes.attribution.attention_relevance import AttentionRelevance
from vlm_lens.probes.attribution.direct_logit_attribution import DirectLogitAttribution
from vlm_lens.probes.attribution.gradient_times_input import GradientTimesInput
from vlm_lens.probes.attribution.integrated_gradients import IntegratedGradients
from vlm_lens.probes.attribution.logit_attribution import LogitAttribution
from vlm_lens.probes.attribution.patch_attribution import PatchAttribution
from vlm_lens.probes.lens.lens_reading import LensReading
from vlm_lens.probes.lens.logit_lens import LogitLens
from vlm_lens.probes.patching.activation_patching import ActivationPatching
from vlm_lens.probes.patching.answer_metrics import LogitDifference, LogProbability, Probability
from vlm_lens.probes.patching.patching_grid import PatchingGrid
from vlm_lens.probes.registers.register_reading import RegisterReading
from vlm_lens.probes.registers.register_tokens import RegisterTokens

__all__ = [
    "ActivationPatching",
    "AttentionFlow",
    "AttentionRelevance",
    "AttentionRollout",
    "DirectLogitAttribution",
    "FlowReading",
    "GradientTimesInput",
    "IntegratedGradients",
    "LensReading",
    "LogProbability",
    "LogitAttribution",
    "LogitDifference",
    "LogitLens",
    "PatchAttribution",
    "PatchingGrid",
    "Probability",
    "RegisterReading",
    "RegisterTokens",
]

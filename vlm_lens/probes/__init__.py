"""What reads: each probe is one file over the base in `vlm_lens.attachments`."""

from vlm_lens.probes.activation_patching import ActivationPatching
from vlm_lens.probes.answer_metrics import LogitDifference, LogProbability, Probability
from vlm_lens.probes.attention_flow import AttentionFlow
from vlm_lens.probes.attention_relevance import AttentionRelevance
from vlm_lens.probes.attention_rollout import AttentionRollout
from vlm_lens.probes.direct_logit_attribution import DirectLogitAttribution
from vlm_lens.probes.flow_reading import FlowReading
from vlm_lens.probes.gradient_times_input import GradientTimesInput
from vlm_lens.probes.integrated_gradients import IntegratedGradients
from vlm_lens.probes.lens_reading import LensReading
from vlm_lens.probes.logit_attribution import LogitAttribution
from vlm_lens.probes.logit_lens import LogitLens
from vlm_lens.probes.patch_attribution import PatchAttribution
from vlm_lens.probes.patching_grid import PatchingGrid
from vlm_lens.probes.register_reading import RegisterReading
from vlm_lens.probes.register_tokens import RegisterTokens

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

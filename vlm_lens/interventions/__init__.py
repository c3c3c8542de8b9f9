"""What writes: each intervention is one file over the base in `vlm_lens.attachments`."""

from vlm_lens.interventions.activation_patch import ActivationPatch
from vlm_lens.interventions.attention_knockout import AttentionKnockout
from vlm_lens.interventions.mean_ablation import MeanAblation
from vlm_lens.interventions.noise_ablation import NoiseAblation
from vlm_lens.interventions.resample_ablation import ResampleAblation
from vlm_lens.interventions.steer import Steer
from vlm_lens.interventions.top_k_context import TopKContext
from vlm_lens.interventions.value_ablation import ValueAblation
from vlm_lens.interventions.zero_ablation import ZeroAblation

__all__ = [
    "ActivationPatch",
    "AttentionKnockout",
    "MeanAblation",
    "NoiseAblation",
    "ResampleAblation",
    "Steer",
    "TopKContext",
    "ValueAblation",
    "ZeroAblation",
]

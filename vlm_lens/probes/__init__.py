"""What reads: each probe is one file over the base in `vlm_lens.attachments`."""

from vlm_lens.probes.attention_flow import AttentionFlow
from vlm_lens.probes.attention_rollout import AttentionRollout
from vlm_lens.probes.flow_reading import FlowReading
from vlm_lens.probes.register_reading import RegisterReading
from vlm_lens.probes.register_tokens import RegisterTokens

__all__ = [
    "AttentionFlow",
    "AttentionRollout",
    "FlowReading",
    "RegisterReading",
    "RegisterTokens",
]

"""What writes: each intervention is one file over the base in `vlm_lens.attachments`."""

from vlm_lens.interventions.attention_knockout import AttentionKnockout
from vlm_lens.interventions.top_k_context import TopKContext

__all__ = [
    "AttentionKnockout",
    "TopKContext",
]

"""What writes: each intervention is one file over the base in `vlm_lens.attachments`."""

from vlm_lens.interventions.attention_knockout import AttentionKnockout

__all__ = ["AttentionKnockout"]

"""Neo et al. 2024, table 2 and figure 8: which rows the answer reads the object from, and in which layers."""

from vlm_lens.experiments.attention_blocking.experiment import AttentionBlocking

__all__ = ["AttentionBlocking"]

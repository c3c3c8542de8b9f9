"""Kaduri et al. 2025, figures 1, 4, 8 and A5: what generated tokens attend to, by layer."""

from vlm_lens.experiments.attention_shares.experiment import AttentionShares

__all__ = ["AttentionShares"]

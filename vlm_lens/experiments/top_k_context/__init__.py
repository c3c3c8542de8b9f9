"""Kaduri et al. 2025, figures 9 and A7: how few image tokens a description needs."""

from vlm_lens.experiments.top_k_context.experiment import TopKContexts

__all__ = ["TopKContexts"]

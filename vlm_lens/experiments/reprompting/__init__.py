"""Kaduri et al. 2025, section 5, table 1: what a few image tokens of a described picture can still answer."""

from vlm_lens.experiments.reprompting.experiment import Reprompting

__all__ = ["Reprompting"]

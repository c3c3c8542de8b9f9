"""Kaduri et al. 2025, figures 2 and A4: which way, and in which layers, a picture reaches its description."""

from vlm_lens.experiments.information_flow.experiment import InformationFlow

__all__ = ["InformationFlow"]

"""Kaduri et al. 2025, figures 6, 7, A6 and A9: whether words of a description look at the objects they name."""

from vlm_lens.experiments.localisation.experiment import Localisation

__all__ = ["Localisation"]

"""Neo et al. 2024, table 1: which tokens of a picture hold what the model needs to name an object."""

from vlm_lens.experiments.object_ablation.experiment import ObjectAblation

__all__ = ["ObjectAblation"]

"""Neo et al. 2024, figures 6 and 7: in which layers the patches of an object say its name."""

from vlm_lens.experiments.correspondence.experiment import Correspondence

__all__ = ["Correspondence"]

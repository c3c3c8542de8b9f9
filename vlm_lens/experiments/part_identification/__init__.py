"""Object part identification: which part a patch shows, read after every decoder layer, with and without context."""

from vlm_lens.experiments.part_identification.experiment import PartIdentification

__all__ = ["PartIdentification"]

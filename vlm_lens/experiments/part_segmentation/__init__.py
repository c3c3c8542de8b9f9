"""Object part identification, appendix E, table 2: parts segmented by the words that their patches say."""

from vlm_lens.experiments.part_segmentation.experiment import PartSegmentation

__all__ = ["PartSegmentation"]

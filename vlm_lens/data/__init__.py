"""Readers of the datasets' own formats, and the filters of the papers."""

from vlm_lens.data.coco import read_coco
from vlm_lens.data.dataset import Dataset, Step
from vlm_lens.data.example import Annotation, Example, Question
from vlm_lens.data.hub import read_hub
from vlm_lens.data.masked_pictures import read_masked_pictures
from vlm_lens.data.mme import read_mme
from vlm_lens.data.open import open_data
from vlm_lens.data.ovparts import read_ovparts
from vlm_lens.data.panoptic_parts import read_panoptic_parts
from vlm_lens.data.picture_folder import read_pictures
from vlm_lens.data.scenes import read_scenes
from vlm_lens.data.target import Target, targets

__all__ = [
    "Annotation",
    "Dataset",
    "Example",
    "Question",
    "Step",
    "Target",
    "open_data",
    "read_coco",
    "read_hub",
    "read_masked_pictures",
    "read_mme",
    "read_ovparts",
    "read_panoptic_parts",
    "read_pictures",
    "read_scenes",
    "targets",
]

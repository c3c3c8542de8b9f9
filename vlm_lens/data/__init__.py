"""Readers of the datasets' own formats, and the filters of the papers."""

from vlm_lens.data.coco import read_coco
from vlm_lens.data.dataset import Dataset, Step
from vlm_lens.data.example import Annotation, Example, Question
from vlm_lens.data.masked_pictures import read_masked_pictures
from vlm_lens.data.open import open_data
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
    "read_masked_pictures",
    "read_pictures",
    "read_scenes",
    "targets",
]

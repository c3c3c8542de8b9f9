"""Readers of the datasets' own formats, and the filters of the papers."""

from vlm_lens.data.coco import read_coco
from vlm_lens.data.dataset import Dataset, Step
from vlm_lens.data.example import Annotation, Example, Question
from vlm_lens.data.open import open_data
from vlm_lens.data.scenes import read_scenes

__all__ = ["Annotation", "Dataset", "Example", "Question", "Step", "open_data", "read_coco", "read_scenes"]

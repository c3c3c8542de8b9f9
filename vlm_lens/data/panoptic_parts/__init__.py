"""Pascal Panoptic Parts: objects with the pixels of their parts, and the paper's merging of them."""

from vlm_lens.data.panoptic_parts.classes import CLASSES, ObjectClass
from vlm_lens.data.panoptic_parts.read import read_panoptic_parts
from vlm_lens.data.panoptic_parts.uids import split_uids

__all__ = ["CLASSES", "ObjectClass", "read_panoptic_parts", "split_uids"]

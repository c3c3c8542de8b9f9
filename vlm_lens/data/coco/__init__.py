"""COCO's detection format, by pycocotools: pictures, instances, captions, and questions of one's own."""

from vlm_lens.data.coco.read import read_coco

__all__ = ["read_coco"]

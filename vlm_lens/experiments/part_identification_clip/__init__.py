"""CLIP alone, focused on a part from some layer on, and asked which of its vocabulary's words it sees."""

from vlm_lens.experiments.part_identification_clip.experiment import PartIdentificationClip

__all__ = ["PartIdentificationClip"]

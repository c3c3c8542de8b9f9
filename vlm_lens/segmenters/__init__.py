"""Masks for texts: those that the data have, or those of a text-prompted model."""

from vlm_lens.segmenters.clipseg import CLIPSegSegmenter
from vlm_lens.segmenters.given import GivenMasks
from vlm_lens.segmenters.named import segmenter_named
from vlm_lens.segmenters.segmenter import Masks, Segmenter
from vlm_lens.segmenters.selection import MaskRule, chosen_mask, labels_of

"""Checkpoints of `transformers`: one declarative file a family, found through a registry."""

from vlm_lens.model.loading.checkpoint import check_folder
from vlm_lens.model.loading.registry import clip_parts, joined_parts, load_clip, load_joined, tower_parts

__all__ = ["check_folder", "clip_parts", "joined_parts", "load_clip", "load_joined", "tower_parts"]

"""Scenes drawn by code, with the pixels of every object and part."""

from vlm_lens.demo.scenes.scene import SPLITS, Scene, SceneObject, draw_scene
from vlm_lens.demo.scenes.vocabulary import (
    BACKGROUNDS,
    COLORS,
    COLORS_OF,
    COMPANIONS,
    KINDS,
    PARTS,
    PLACES,
    SURFACES,
    is_heldout,
    merged_part,
)

__all__ = [
    "BACKGROUNDS",
    "COLORS",
    "COLORS_OF",
    "COMPANIONS",
    "KINDS",
    "PARTS",
    "PLACES",
    "SPLITS",
    "SURFACES",
    "Scene",
    "SceneObject",
    "draw_scene",
    "is_heldout",
    "merged_part",
]

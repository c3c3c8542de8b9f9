"""Texts that are true of a scene: descriptions, questions with answers, captions."""

from vlm_lens.demo.text.captions import all_captions, false_captions, photo_of, true_captions
from vlm_lens.demo.text.turns import (
    DESCRIBE,
    Turn,
    color_turns,
    corpus,
    describe,
    on_turns,
    parts_turns,
    place_turns,
    presence_turns,
    turns,
)

__all__ = [
    "DESCRIBE",
    "Turn",
    "all_captions",
    "color_turns",
    "corpus",
    "describe",
    "false_captions",
    "on_turns",
    "parts_turns",
    "photo_of",
    "place_turns",
    "presence_turns",
    "true_captions",
    "turns",
]

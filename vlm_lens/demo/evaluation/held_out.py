"""Held-out scenes: other seeds, and combinations of kind, colour and place that training never shows."""

from collections.abc import Iterator
from itertools import count, islice
from random import Random

from vlm_lens.demo.evaluation.loaded import Question
from vlm_lens.demo.scenes import Scene, draw_scene
from vlm_lens.demo.text import Turn, color_turns, on_turns, presence_turns

FIRST_SEED = 9_500_000
"""Scenes from here on were first looked at when the training had ended; 9 000 000 and on served to watch it."""


def scenes(n: int, *, n_objects: int | None = None, require_surface: bool = False) -> list[Scene]:
    """The first n held-out scenes."""
    seeds = islice(count(FIRST_SEED), n)
    return [draw_scene(seed, "heldout", n_objects, require_surface=require_surface) for seed in seeds]


def _questions(pairs: Iterator[tuple[Scene, Turn]], n: int) -> list[Question]:
    return [Question(scene, turn.question, turn.answer_prefix, turn.answer) for scene, turn in islice(pairs, n)]


def presence_questions(n: int) -> list[Question]:
    """Yes/no questions, n of them, two a scene, one of them yes."""
    drawn = scenes((n + 1) // 2)
    pairs = ((s, turn) for s in drawn for turn in presence_turns(s, Random(s.seed), 2))
    return _questions(pairs, n)


def on_questions(n: int) -> list[Question]:
    """Questions, n of them, for what is on a surface, one a scene."""
    drawn = scenes(n, require_surface=True)
    return _questions(((s, Random(s.seed).choice(on_turns(s, Random(0)))) for s in drawn), n)


def color_questions(n: int) -> list[Question]:
    """Questions, n of them, for a colour, one a scene."""
    drawn = scenes(n)
    return _questions(((s, Random(s.seed).choice(color_turns(s, Random(0)))) for s in drawn), n)

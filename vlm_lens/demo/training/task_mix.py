"""Which questions are asked about a scene in training, and how much each answer weighs."""

from random import Random

from vlm_lens.demo.scenes import Scene
from vlm_lens.demo.text import (
    DESCRIBE,
    Turn,
    color_turns,
    describe,
    on_turns,
    parts_turns,
    place_turns,
    presence_turns,
)

MOST_COLORS, MOST_PLACES = 3, 2
SHARE_OF_PARTS = 0.2
"""How often the long turn asks for the parts of an object instead of a description."""

ANSWER_WEIGHTS: dict[str, float] = {
    "presence": 5.0,
    "on": 5.0,
    "color": 4.0,
    "place": 1.0,
    "parts": 1.0,
    "describe": 1.0,
}
"""Weight of each answer token in the loss. Answers that depend on the question need the most."""


def short_turns(scene: Scene, random: Random, n: int) -> list[Turn]:
    """Questions with short answers, n of them: what stands on the surfaces, colours, places, and the rest yes/no."""
    colors, places = color_turns(scene, random), place_turns(scene, random)
    chosen = [
        *on_turns(scene, random),
        *random.sample(colors, min(MOST_COLORS, len(colors))),
        *random.sample(places, min(MOST_PLACES, len(places))),
    ]
    random.shuffle(chosen)
    chosen = chosen[: n - 2]
    return chosen + presence_turns(scene, random, n - len(chosen))


def long_turn(scene: Scene, random: Random) -> Turn:
    """One question with a long answer: the description, or now and then the parts of an object."""
    parts = parts_turns(scene, random)
    if parts and random.random() < SHARE_OF_PARTS:
        return random.choice(parts)
    return Turn(DESCRIBE, "", describe(scene, random), "describe")

"""Which scenes are shown, which questions are asked about them, and how much each answer weighs."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from vlm_lens.demo.scenes import Scene, draw_scene
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


@dataclass(frozen=True)
class TaskMix:
    """One mix of scenes and questions.

    Attributes:
        n_objects: Objects of the scenes of consecutive seeds, over and over; None leaves the number to the scene.
            Where a number is given, at least one object stands on a surface.
        n_short: Short turns about each scene.
        most_colors: Colour questions among them, at most.
        most_places: Questions for a place, at most.
        share_of_parts: How often the long turn asks for the parts of an object instead of a description.
        long_every: The long turn is asked in every so many steps.
        answer_weights: Weight of each answer token in the loss, by task.
    """

    n_objects: tuple[int | None, ...]
    n_short: int
    most_colors: int
    most_places: int
    share_of_parts: float
    long_every: int
    answer_weights: Mapping[str, float]

    def draw(self, seed: int) -> Scene:
        """The training scene of a seed."""
        n_objects = self.n_objects[seed % len(self.n_objects)]
        return draw_scene(seed, n_objects=n_objects, require_surface=n_objects is not None)

    def short_turns(self, scene: Scene, random: Random) -> list[Turn]:
        """What stands on the surfaces, colours, places, and for the rest yes/no."""
        colors, places = color_turns(scene, random), place_turns(scene, random)
        chosen = [
            *on_turns(scene, random),
            *random.sample(colors, min(self.most_colors, len(colors))),
            *random.sample(places, min(self.most_places, len(places))),
        ]
        random.shuffle(chosen)
        chosen = chosen[: self.n_short - 2]
        return chosen + presence_turns(scene, random, self.n_short - len(chosen))

    def long_turn(self, scene: Scene, random: Random) -> Turn:
        """The description, or now and then the parts of an object."""
        parts = parts_turns(scene, random)
        if parts and random.random() < self.share_of_parts:
            return random.choice(parts)
        return Turn(DESCRIBE, "", describe(scene, random), "describe")


BASICS = TaskMix(
    n_objects=(None,),
    n_short=12,
    most_colors=3,
    most_places=2,
    share_of_parts=0.2,
    long_every=2,
    answer_weights=MappingProxyType(
        {"presence": 5.0, "on": 5.0, "color": 4.0, "place": 1.0, "parts": 1.0, "describe": 1.0}
    ),
)
"""Any scene, many yes/no questions: what depends on the question stays at chance for long without them."""

RELATIONS = TaskMix(
    n_objects=(None, 2, 3, 2, None, 2, 3, 4),
    n_short=7,
    most_colors=1,
    most_places=1,
    share_of_parts=0.1,
    long_every=1,
    answer_weights=MappingProxyType(
        {"presence": 2.0, "on": 5.0, "color": 2.0, "place": 2.0, "parts": 1.0, "describe": 1.0}
    ),
)
"""Scenes in which several things could be meant: what stands on which surface, and what is where."""

MIXES: Mapping[str, TaskMix] = MappingProxyType({"basics": BASICS, "relations": RELATIONS})

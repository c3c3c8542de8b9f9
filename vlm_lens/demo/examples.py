"""A few scenes to show, each with a question: drawn by code, never seen in training."""

from dataclasses import dataclass, replace
from random import Random

from vlm_lens.demo.scenes import Scene, SceneObject, draw_scene
from vlm_lens.demo.text import DESCRIBE, Turn, describe


@dataclass(frozen=True, eq=False)
class ExampleScene:
    """A held-out scene, a question about it, and the object that the question is about.

    `subject` is None where the question asks for something that the scene does not show.
    """

    name: str
    scene: Scene
    turn: Turn
    subject: SceneObject | None


@dataclass(frozen=True)
class _Choice:
    name: str
    seed: int
    require_surface: bool
    turn: Turn
    subject: str | None


_CHOICES = (
    _Choice("cat on the bed", 11, False, Turn("Is there a cat in this image?", "", "Yes", "presence"), "cat"),
    _Choice("sheep on the table", 35, False, Turn("What is on the table?", "It is a", "sheep", "on"), "sheep"),
    _Choice("bird on the bed", 9, False, Turn("What is on the bed?", "It is a", "bird", "on"), "bird"),
    _Choice("horse and person", 53, False, Turn("Is there a dog in this image?", "", "No", "presence"), None),
    _Choice("cow in a meadow", 5, False, Turn("Is there a cow in this image?", "", "Yes", "presence"), "cow"),
    _Choice("cat on the rug", 0, True, Turn(DESCRIBE, "", "", "describe"), "cat"),
)  # fmt: skip


def example_scenes() -> tuple[ExampleScene, ...]:
    """The six scenes of the demo, from the held-out split, chosen by looking at them."""
    return tuple(_example(choice) for choice in _CHOICES)


def _example(choice: _Choice) -> ExampleScene:
    scene = draw_scene(choice.seed, "heldout", require_surface=choice.require_surface)
    found = {one.kind: one for one in scene.objects}
    subject = None if choice.subject is None else found[choice.subject]
    turn = choice.turn
    if turn.task == "describe":
        turn = replace(turn, answer=describe(scene, Random(choice.seed)))
    return ExampleScene(choice.name, scene, turn, subject)

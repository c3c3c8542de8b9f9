"""Questions about a scene with their answers, and its description."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from vlm_lens.demo.scenes.scene import Scene
from vlm_lens.demo.scenes.vocabulary import (
    COLORS,
    COLORS_OF,
    COMPANIONS,
    KINDS,
    PAIRED,
    PLACES,
    SURFACES,
)
from vlm_lens.demo.text.captions import all_captions, left_to_right
from vlm_lens.demo.text.grammar import (
    WHERE,
    object_sentence,
    part_names,
    parts_phrase,
    parts_sentence,
    visible_parts,
    with_article,
)

DESCRIBE = "Describe this image."

_N_PRESENCE = 4


@dataclass(frozen=True)
class Turn:
    """A question and its answer, which starts after a prefix that is given ("" or "It is a").

    `task` is "describe", "presence", "on", "color", "parts" or "place".
    """

    question: str
    answer_prefix: str
    answer: str
    task: str


def describe(scene: Scene, rng: Random) -> str:
    """The scene in short sentences: every object from left to right, then the parts of one.

    The parts are those of the object that shows the most pixels.
    """
    sentences = [object_sentence(found) for found in left_to_right(scene)]
    largest = max(scene.objects, key=lambda found: int(found.mask.sum()))
    parts = parts_sentence(largest)
    return " ".join([*sentences, parts] if parts else sentences)


def presence_question(kind: str) -> str:
    """The question "Is there a cat in this image?"."""
    return f"Is there a {kind} in this image?"


def on_question(surface: str) -> str:
    """The question "What is on the bed?"."""
    return f"What is on the {surface}?"


def color_question(kind: str) -> str:
    """The question "What color is the cat?"."""
    return f"What color is the {kind}?"


def place_question(kind: str) -> str:
    """The question "Where is the cat?"."""
    return f"Where is the {kind}?"


def parts_question(kind: str) -> str:
    """The question "Which parts of the cat are visible?"."""
    return f"Which parts of the {kind} are visible?"


def describe_turns(scene: Scene, rng: Random) -> list[Turn]:
    """The one turn that asks for a description."""
    return [Turn(DESCRIBE, "", describe(scene, rng), "describe")]


def presence_turns(scene: Scene, rng: Random, n: int) -> list[Turn]:
    """Yes/no questions, n of them, as many yes as no (where n is odd, chance decides the last).

    Present kinds are asked again where there are fewer than needed; seven in ten of the absent
    kinds are likely companions of what is there.
    """
    present = [found.kind for found in scene.objects]
    absent = [kind for kind in KINDS if kind not in present]
    likely = [kind for other in present for kind in COMPANIONS[other] if kind in absent]
    n_yes = n // 2 + (n % 2 and rng.random() < 0.5)
    asked_yes: list[str] = []
    while len(asked_yes) < n_yes:
        asked_yes += rng.sample(present, min(len(present), n_yes - len(asked_yes)))
    asked_no: list[str] = []
    while len(asked_no) < n - n_yes:
        kind = rng.choice(likely if likely and rng.random() < 0.7 else absent)
        if kind not in asked_no or len(set(asked_no)) == len(absent):
            asked_no.append(kind)
    turns = [Turn(presence_question(kind), "", "Yes", "presence") for kind in asked_yes]
    turns += [Turn(presence_question(kind), "", "No", "presence") for kind in asked_no]
    rng.shuffle(turns)
    return turns


def on_turns(scene: Scene, rng: Random) -> list[Turn]:
    """What is on each surface; each surface has one object on it."""
    return [Turn(on_question(found.surface), "It is a", found.kind, "on") for found in scene.objects if found.surface]


def color_turns(scene: Scene, rng: Random) -> list[Turn]:
    """The colour of each object."""
    return [Turn(color_question(found.kind), "It is", found.color, "color") for found in scene.objects]


def place_turns(scene: Scene, rng: Random) -> list[Turn]:
    """Where each object is."""
    return [Turn(place_question(found.kind), "It is", WHERE[found.place], "place") for found in scene.objects]


def parts_turns(scene: Scene, rng: Random) -> list[Turn]:
    """Which parts of each object are visible."""
    shown = [(found.kind, visible_parts(found)) for found in scene.objects]
    return [Turn(parts_question(kind), "", parts_phrase(parts), "parts") for kind, parts in shown if parts]


def turns(scene: Scene, rng: Random) -> list[Turn]:
    """A description, four presence questions, and all others, parts for one object."""
    parts = parts_turns(scene, rng)
    return [
        *describe_turns(scene, rng),
        *presence_turns(scene, rng, _N_PRESENCE),
        *on_turns(scene, rng),
        *color_turns(scene, rng),
        *place_turns(scene, rng),
        *rng.sample(parts, min(1, len(parts))),
    ]


def corpus() -> Iterator[str]:
    """Every sentence form with every word, to train a tokenizer on."""
    yield from all_captions()
    yield DESCRIBE
    yield from ("Yes", "No", "It is", "It is a", "It is an")
    for kind in KINDS:
        for color in COLORS_OF[kind]:
            for place in PLACES:
                yield f"A {color} {kind} is {WHERE[place]}."
                yield from (f"A {color} {kind} is on the {s} {WHERE[place]}." for s in SURFACES)
                yield f"It is {WHERE[place]}"
        ask = (presence_question, color_question, place_question, parts_question)
        yield from (question(kind) for question in ask)
        yield f"It is a {kind}"
        parts = part_names(kind)
        for n_sides in (1, 2):
            shown = {part: n_sides if part in PAIRED else 1 for part in parts}
            yield f"The {kind} has {parts_phrase(shown)}."
        yield from (f"Is there {with_article(part)} in this image?" for part in parts)
    yield from (on_question(surface) for surface in SURFACES)
    yield from (f"It is {color}" for color in COLORS)

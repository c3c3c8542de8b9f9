"""Held-out scenes with a question about one object, in batches whose rows know that object's patches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from random import Random

import numpy as np

from vlm_lens import HookedVLM, Inputs, Region, Writer
from vlm_lens.demo.evaluation.held_out import FIRST_SEED
from vlm_lens.demo.evaluation.loaded import batches
from vlm_lens.demo.scenes import Scene, SceneObject, draw_scene
from vlm_lens.demo.text.turns import on_question, presence_question

BATCH = 10
PRESENCE, ON = "Is there a X?", "What is on the Y?"
QUESTIONS = (PRESENCE, ON)


@dataclass(frozen=True, eq=False)
class Asked:
    """A scene, the object that a question is about, the prompt, and the right answer."""

    scene: Scene
    subject: SceneObject
    prompt: str
    answer: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts with the patches that saw what each asks for.

    `random` are as many patches as the object and its neighbours, outside both.
    """

    asked: Sequence[Asked]
    inputs: Inputs
    subjects: list[Region]
    grown: list[Region]
    random: list[Region]


def questions(vlm: HookedVLM, question: str, n: int) -> list[Asked]:
    """The first n held-out scenes whose object, neighbours included, leaves as many patches for a random control.

    "Is there a X?" asks for an object that is there; "What is on the Y?" gives "It is a" and wants the kind.
    """
    return list(islice(_questions(vlm, question), n))


def _questions(vlm: HookedVLM, question: str) -> Iterator[Asked]:
    for seed in count(FIRST_SEED):
        scene = draw_scene(seed, "heldout", require_surface=question == ON)
        subject = Random(seed).choice([one for one in scene.objects if question == PRESENCE or one.surface])
        if question == PRESENCE:
            asked = Asked(scene, subject, presence_question(subject.kind), "Yes")
        else:
            text = on_question(str(subject.surface))
            asked = Asked(scene, subject, f"USER: <image>\n{text} ASSISTANT: It is a", subject.kind)
        grown = vlm.prepare(scene.image, asked.prompt).layout.region(subject.mask).dilate(1)
        if len(~grown) >= len(grown):
            yield asked


def prepared(vlm: HookedVLM, asked: Sequence[Asked]) -> Iterator[Batch]:
    """The questions in batches, padded on the left."""
    for some in batches(asked, BATCH):
        inputs = vlm.prepare([one.scene.image for one in some], [one.prompt for one in some])
        subjects = [inputs.layout.region(one.subject.mask, row=row) for row, one in enumerate(some)]
        grown = [region.dilate(1) for region in subjects]
        random = [(~region).sample(len(region), seed=one.scene.seed) for region, one in zip(grown, some, strict=True)]
        yield Batch(some, inputs, subjects, grown, random)


def answered(vlm: HookedVLM, batch: Batch, question: str, writers: Sequence[Writer]) -> dict[str, np.ndarray]:
    """For each prompt P(right) and whether the answer is right, under some interventions.

    Yes is taken among Yes and No; a kind among all tokens.
    """
    logits = vlm.run(batch.inputs, *writers, only_last=True).logits[:, -1].double()
    if question == PRESENCE:
        logits = logits[:, [vlm.to_single_token(" Yes"), vlm.to_single_token(" No")]]
        right = [0] * len(batch.asked)
    else:
        right = [vlm.to_single_token(f" {one.answer}") for one in batch.asked]
    rows = np.arange(len(right))
    return {
        "probability": logits.softmax(dim=-1).cpu().numpy()[rows, right],
        "is_right": logits.argmax(dim=-1).cpu().numpy() == right,
    }


def n_batches(n: int) -> int:
    """How often a bar ticks for n scenes."""
    return -(-n // BATCH)

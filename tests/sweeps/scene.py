"""One picture of the bundled model and a question about it, and conditions that go every way."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from vlm_lens import (
    AttentionKnockout,
    HookedVLM,
    NoiseAblation,
    Steer,
    Writer,
    ZeroAblation,
)
from vlm_lens.attachments import Attachment, Here
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs

EVERY_POSITION = slice(0, None)


@cache
def bundled() -> HookedVLM:
    return HookedVLM.demo()


@cache
def question() -> Inputs:
    example = example_scenes()[0]
    return bundled().prepare(example.scene.image, example.turn.question)


@cache
def cat() -> Any:
    """The positions of the object that the question is about."""
    subject = example_scenes()[0].subject
    assert subject is not None
    return question().layout.region(subject.mask)


class Undeclared(Writer):
    """A writer that does not say what it touches."""

    def hook_names(self, model: Any) -> list[str]:
        return ["blocks.1.hook_resid_pre"]

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation * 0.9


class Lies(Undeclared):
    """A writer that changes every position and declares the last alone."""

    def touched(self, ground: Any) -> Any:
        rows = torch.zeros(ground.planned.layout.role_ids.shape, dtype=torch.bool)
        rows[:, -1] = True
        return {"blocks.1.hook_resid_pre": rows}


def least_memory(make: Callable[[int], Any]) -> int:
    """The smallest bound that is taken, as the refusal of a smaller one says."""
    with pytest.raises(InputError, match=r"at least \d+ bytes") as refused:
        make(1)
    return int(str(refused.value).split("at least ")[1].split(" bytes")[0])


def conditions_of_every_way() -> dict[str, list[Attachment]]:
    """By the way that the plan should name."""
    return {
        "as it is": [],
        "rows": [AttentionKnockout("last", cat(), layers=[2])],
        "from a layer": [NoiseAblation(EVERY_POSITION, "blocks.2.hook_resid_pre")],
        "decoder": [ZeroAblation(cat())],
        "picture": [ZeroAblation(cat(), "vision.blocks.*.hook_resid_pre", layers=[1])],
        "by itself": [Undeclared()],
    }


def conditions() -> dict[str, list[Attachment]]:
    """Some of each kind that people use."""
    steer = Steer(torch.ones(bundled().cfg.d_model), "blocks.*.hook_resid_post", "last", layers=[5])
    late = AttentionKnockout("question", "image", layers=range(2, 5), name="late")
    return {**conditions_of_every_way(), "steered": [steer], "two": [late, steer]}

"""Rows of the ablation of objects against plain `transformers`, and what they depend on."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.experiments.described_scenes import demo, plain_demo
from tests.experiments.object_ablation.ablated_scenes import context_of
from vlm_lens.data import Example, open_data
from vlm_lens.experiments.mean_pictures import mean_of
from vlm_lens.experiments.object_ablation import ObjectAblation
from vlm_lens.experiments.object_ablation.gradients import ranking_by_gradients
from vlm_lens.experiments.object_ablation.tasks import POLLING, VQA, prompt_of, subject_of

EXPERIMENT = ObjectAblation()


@cache
def rows() -> tuple[list[Any], list[Any]]:
    context = context_of()
    found = EXPERIMENT.rows(context, list(context.data))
    return list(found["pictures"]), list(found["cells"])


def cell_of(example: str, task: str, kind: str, count: int | None = None) -> dict[str, Any]:
    wanted = (example, task, kind, count, "")
    (found,) = [
        one for one in rows()[1] if (one["example"], one["task"], one["kind"], one["count"], one["like"]) == wanted
    ]
    return dict(found)


def projected(image: Any) -> Tensor:
    """What the projector gives for each patch, by plain `transformers`."""
    inputs = demo().prepare(image, "?")
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value.detach())
        return value

    plain_demo().logits(inputs, edits={"projector": keep})
    return found[0][0]


@cache
def mean_by_hand() -> Tensor:
    pictures = open_data(context_of().options.mean_pictures)
    return torch.cat([projected(one.image) for one in pictures]).double().mean(dim=0).float()


def at_mean(patches: set[int]) -> dict[str, Callable[[Tensor], Tensor]]:
    mean = mean_by_hand()

    def edit(value: Tensor) -> Tensor:
        value[0, sorted(patches)] = mean
        return value

    return {"projector": edit}


def patches_by_hand(example: Example, category: str, n_buffer: int) -> set[int]:
    """Patches of 16 pixels that hold one of the object, and those within some steps of them."""
    (annotation,) = example.of(category)
    cells = annotation.mask.reshape(12, 16, 12, 16).any(axis=(1, 3))
    near = {
        (row + down, col + right)
        for row, col in np.argwhere(cells)
        for down in range(-n_buffer, n_buffer + 1)
        for right in range(-n_buffer, n_buffer + 1)
    }
    return {int(12 * row + col) for row, col in near if 0 <= row < 12 and 0 <= col < 12}


def with_vqa() -> Example:
    context = context_of()
    return next(one for one in context.data if subject_of(context, one).question)


@pytest.mark.parametrize(("kind", "n_buffer"), [("Object", 0), ("+ 1 Buffer", 1)])
def test_the_answer_without_the_object_is_that_of_transformers(kind: str, n_buffer: int) -> None:
    context, example = context_of(), with_vqa()
    subject = subject_of(context, example)
    inputs = prompt_of(context, subject, VQA, example.image)
    assert inputs.prompts[0].endswith(f"{subject.question.text} ASSISTANT: It is a")  # type: ignore[union-attr]
    patches = patches_by_hand(example, subject.category, n_buffer)
    logits = plain_demo().logits(inputs, edits=at_mean(patches))[0, -1].detach()
    cell = cell_of(example.id, VQA, kind)
    assert cell["n_tokens"] == len(patches)
    answer = demo().to_single_token(f" {subject.category}")
    assert cell["probability"] == pytest.approx(float(logits.double().softmax(-1)[answer]), abs=1e-5)
    assert cell["is_right"] == (int(logits.argmax()) == answer)
    clean = plain_demo().logits(inputs)[0, -1].detach()
    assert cell["clean_probability"] == pytest.approx(float(clean.double().softmax(-1)[answer]), abs=1e-5)


def test_polling_without_the_object_is_that_of_transformers() -> None:
    context = context_of()
    example = context.data[0]
    subject = subject_of(context, example)
    inputs = prompt_of(context, subject, POLLING, example.image)
    patches = patches_by_hand(example, subject.category, 0)
    tokens, _ = plain_demo().greedy(inputs, 2, edits=at_mean(patches))
    cell = cell_of(example.id, POLLING, "Object")
    assert cell["text"] == demo().tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
    assert cell["is_right"] == (cell["text"] == "Yes") and cell["clean_is_right"]


def test_the_ranking_by_gradients_is_autograds() -> None:
    context = context_of()
    example = context.data[0]
    subject = subject_of(context, example)
    polling = prompt_of(context, subject, POLLING, example.image)
    question = f"Is there a {subject.category} in this image?"
    found = ranking_by_gradients(context, polling, question, mean_of(context))
    here, start = projected(example.image), mean_by_hand()
    nodes, weights = np.polynomial.legendre.leggauss(context.options.n_steps)
    total = torch.zeros_like(here)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        leaf = (start + node * (here - start)).float().requires_grad_()
        yes = plain_demo().logits(polling, edits={"projector": lambda _, leaf=leaf: leaf[None]})
        (gradient,) = torch.autograd.grad(yes[0, -1, demo().to_single_token(" Yes")], leaf)
        total += weight * gradient
    scores = ((here - start) * total).abs().sum(dim=-1).numpy()
    by_hand = np.argsort(-scores, kind="stable").tolist()
    # Scores that differ in the last bits may change places.
    assert np.allclose(scores[found], scores[by_hand], rtol=1e-3)
    assert set(found[:9]) == set(by_hand[:9])


def test_rows_depend_on_nothing_but_the_example() -> None:
    example = context_of().data[1]
    alone = list(EXPERIMENT.rows(context_of(), [example])["cells"])
    together = [one for one in rows()[1] if one["example"] == example.id]
    assert len(alone) == len(together) > 0
    for one, other in zip(alone, together, strict=True):
        # Rounding may differ with what was computed before; everything else may not.
        numbers = [name for name in one if name.endswith("probability") and one[name] is not None]
        assert one == {**other, **{name: pytest.approx(other[name], abs=1e-6) for name in numbers}}


def test_each_picture_has_each_row_of_the_table_once_and_those_at_equal_counts() -> None:
    pictures, cells = rows()
    assert {one["example"] for one in pictures} == {one.id for one in context_of().data}
    for example in {one["example"] for one in cells}:
        for task in {one["task"] for one in cells if one["example"] == example}:
            of = [one for one in cells if (one["example"], one["task"]) == (example, task)]
            names = [(one["kind"], one["count"]) for one in of if not one["like"]]
            assert names == [
                ("Object", None), ("+ 1 Buffer", None), ("+ 2 Buffer", None), ("Register tokens", None),
                ("Int. Gradients", 9), ("Random", 9),
            ]  # fmt: skip
            own = {one["kind"]: one["n_tokens"] for one in of if one["kind"] in ("Object", "+ 1 Buffer", "+ 2 Buffer")}
            for kind in ("Int. Gradients", "Random"):
                assert {one["like"]: one["n_tokens"] for one in of if one["kind"] == kind and one["like"]} == own
            assert all(one["n_tokens"] == one["count"] for one in of if one["count"])


def test_a_picture_that_the_filter_drops_has_a_row_that_says_so() -> None:
    context = context_of(description_tokens=1)  # one word names no object
    found = EXPERIMENT.rows(context, list(context.data))
    assert [one["is_named"] for one in found["pictures"]] == [False] * len(context.data)
    assert {one["task"] for one in found["cells"]} <= {VQA}
    both = context_of(description_tokens=1, filters_vqa=True)
    assert EXPERIMENT.rows(both, list(both.data))["cells"] == []

"""Rows of blocked attention against a plain loop, and against `transformers` under a mask of its own."""

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.experiments.described_scenes import demo, plain_demo
from tests.interventions.plain_transformers import edges
from vlm_lens.data import Annotation, Dataset, Example, Question, open_data, read_scenes
from vlm_lens.demo.scenes import draw_scene
from vlm_lens.demo.scenes.coco import write_coco
from vlm_lens.experiments.attention_blocking import AttentionBlocking
from vlm_lens.experiments.attention_blocking.edges import OBJECT_1, REST, ROWS_TO_ROW, SOURCES
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Rows
from vlm_lens.experiments.object_questions import object_question
from vlm_lens.experiments.prompts import asked
from vlm_lens.inputs import Inputs

EXPERIMENT = AttentionBlocking()
N_HEADS = 6


def context_over(data: Dataset, preset: str = "default", **options: Any) -> Context:
    chosen = AttentionBlocking.Options.preset(preset).but(**options)
    return Context(demo(), EXPERIMENT.chosen(data, chosen), chosen, 0, Path(), shows_progress=False)


def context_of(preset: str = "default", n: int = 2, **options: Any) -> Context:
    return context_over(read_scenes(n, surfaces=True), preset, **options)


@cache
def rows() -> Rows:
    context = context_of()
    return EXPERIMENT.rows(context, list(context.data))


def prompted(example: Example) -> tuple[Inputs, np.ndarray, str]:
    """The prompt, the object's patches by hand, and the answer."""
    question, annotation = object_question(example)
    inputs = asked(demo(), example.image, question.text, answer="It is a")
    own = annotation.mask.reshape(12, 16, 12, 16).any(axis=(1, 3))
    return inputs, own, question.answer


def grown(own: np.ndarray) -> np.ndarray:
    padded = np.pad(own, 1)
    return np.any([padded[down : down + 12, right : right + 12] for down in range(3) for right in range(3)], axis=0)


def test_every_cell_is_that_of_a_run_by_itself() -> None:
    context = context_of()
    for example in context.data:
        grid = EXPERIMENT.grid(context, example)
        assert len(grid.conditions) == 36
        of_example = [one for one in rows()["cells"] if one["example"] == example.id]
        answer = demo().to_single_token(f" {prompted(example)[2]}")
        for (window, source), knockout in grid.conditions.items():
            (row,) = [one for one in of_example if (one["window"], one["source"]) == (window, source)]
            logits = demo().run(grid.inputs, knockout).logits[0, -1].double()
            assert row["probability"] == pytest.approx(float(logits.softmax(-1)[answer]), abs=1e-5)
            assert row["is_right"] == (int(logits.argmax()) == answer)
        clean = demo().run(grid.inputs).logits[0, -1].double()
        assert {round(one["clean_probability"], 5) for one in of_example} == {
            round(float(clean.softmax(-1)[answer]), 5)
        }


@pytest.mark.parametrize(
    ("source", "window", "layers"),
    [(OBJECT_1, "mid-late", (3, 4)), (REST, "early", (0, 1)), (ROWS_TO_ROW, "all", range(6))],
)
def test_a_cell_is_transformers_under_a_mask_of_its_own(source: str, window: str, layers: Any) -> None:
    example = context_of().data[0]
    inputs, own, answer = prompted(example)
    near, start = grown(own).ravel(), inputs.layout.image_span().start
    keys = {OBJECT_1: np.flatnonzero(near), REST: np.flatnonzero(~near), ROWS_TO_ROW: np.arange(132)}[source]
    last = [inputs.layout.n_positions - 1]
    queries = [start + 132 + column for column in range(12)] if source == ROWS_TO_ROW else last
    blocked = edges("decoder", layers, range(N_HEADS), 0, queries, (keys + start).tolist())
    with torch.no_grad():
        logits = plain_demo().logits(inputs, blocked)[0, -1].double()
    (row,) = [
        one for one in rows()["cells"] if (one["example"], one["window"], one["source"]) == (example.id, window, source)
    ]
    expected = float(logits.softmax(-1)[demo().to_single_token(f" {answer}")])
    assert row["probability"] == pytest.approx(expected, abs=1e-5)
    assert row["token"] == demo().to_single_str_token(int(logits.argmax()))


def test_rows_depend_on_nothing_but_the_example() -> None:
    context = context_of()
    alone = EXPERIMENT.rows(context_of(), [context.data[1]])["cells"]
    together = [one for one in rows()["cells"] if one["example"] == context.data[1].id]
    assert [one["probability"] for one in alone] == pytest.approx([one["probability"] for one in together], abs=1e-6)
    for name in ("window", "source", "is_right", "answer"):
        assert [one[name] for one in alone] == [one[name] for one in together]


def test_sliding_windows_are_as_wide_as_asked_or_as_the_papers() -> None:
    example = context_of().data[0]
    windows = {
        width: list(dict.fromkeys(name for name, _ in EXPERIMENT.grid(context, example).conditions))
        for width in (0, 5)
        for context in [context_of(windows="sliding", width=width)]
    }
    assert windows == {0: ["0-1", "1-2", "2-3", "3-4", "4-5"], 5: ["0-4", "1-5"]}


def test_questions_that_somebody_wrote_are_asked_of_coco_pictures(tmp_path: Path) -> None:
    scenes = read_scenes(3)
    write_coco([draw_scene(int(one.id), "heldout") for one in scenes], ["-"] * 3, tmp_path, with_surfaces=False)
    kind = scenes[1].annotations[0].category
    with (tmp_path / "curated.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "question", "answer", "category"])
        table.writerow([scenes[1].id, "What is there?", kind, ""])
        table.writerow([scenes[2].id, "What is there?", "thing", scenes[2].annotations[0].category])
        table.writerow([scenes[0].id, "Is there a thing?", "Yes", scenes[0].annotations[0].category])
    context = context_over(open_data(f"coco:{tmp_path},questions=curated.csv"))
    assert [one.id for one in context.data] == [scenes[1].id, scenes[2].id]
    found = EXPERIMENT.rows(context, list(context.data))
    assert {one["answer"] for one in found["cells"]} == {kind, "thing"}
    inputs = EXPERIMENT.grid(context, context.data[0]).inputs
    assert inputs.prompts[0].endswith("What is there? ASSISTANT: It is a")
    assert "thing" in EXPERIMENT.facts(context)["split"]


def test_an_object_that_the_crop_cut_away_has_a_row_that_says_so() -> None:
    mask = np.zeros((96, 300), bool)
    mask[:, :5] = True
    picture = Example(
        "wide", lambda: Image.new("RGB", (300, 96)), (96, 300), (Annotation("cat", 480.0, lambda: mask),), (),
        (Question("What is there?", "cat"),),
    )  # fmt: skip
    context = context_over(Dataset("made", "0" * 16, (picture,)))
    found = EXPERIMENT.rows(context, list(context.data))
    assert found == {"pictures": [{"example": "wide", "is_seen": False}], "cells": []}


def test_every_picture_has_six_windows_of_six_sources() -> None:
    for example in context_of().data:
        cells = [one for one in rows()["cells"] if one["example"] == example.id]
        assert len(cells) == 36 and list(dict.fromkeys(one["source"] for one in cells)) == list(SOURCES)

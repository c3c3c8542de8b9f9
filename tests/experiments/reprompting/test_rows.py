"""Answers from contexts: rows against a plain loop, the presets, MME on disk, and who reads descriptions."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.experiments.described_scenes import context_of, demo, plain_demo
from tests.experiments.reprompting.chat_server import answering
from vlm_lens.data import Dataset, Example, read_scenes
from vlm_lens.data.mme import read_mme
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import describing
from vlm_lens.experiments.reprompting import Reprompting
from vlm_lens.experiments.reprompting.experiment import yes_no_questions
from vlm_lens.experiments.reprompting.methods import DESCRIBE, NAIVE, QUERY

EXPERIMENT = Reprompting()
CONTEXTS = {f"{QUERY} + K=5%": (0.05, "both"), f"{QUERY} + K=2%": (0.02, "both"), QUERY: (0.0, "query"),
            "K=2%": (0.02, "image")}  # fmt: skip


def answers_of(context: Context) -> pd.DataFrame:
    return pd.DataFrame(EXPERIMENT.rows(context, context.data)["answers"])


@cache
def default_rows() -> tuple[Context, pd.DataFrame]:
    context = context_of(EXPERIMENT, max_new_tokens=6)
    return context, answers_of(context)


def test_answers_from_contexts_equal_those_of_a_context_for_each_question() -> None:
    context, answers = default_rows()
    example = context.data[1]
    for method, (keep, variant) in CONTEXTS.items():
        plain = demo().compress(
            example.image, prompt="Describe this image.", keep=keep, variant=variant, max_new_tokens=6
        )
        mine = answers[(answers["example"] == example.id) & (answers["method"] == method)].set_index("question")
        for question in yes_no_questions(example, context.options.tasks):
            said = plain.ask(question.text, max_new_tokens=16)
            found = mine.loc[question.text]
            assert (found["said"], found["n_held"], found["n_new"]) == (said.text, plain.n_kept, said.inputs.shape[1])


def test_the_naive_answer_is_that_of_transformers() -> None:
    context, answers = default_rows()
    vlm, hf = demo(), plain_demo().hf
    example = context.data[0]
    for question in yes_no_questions(example, context.options.tasks):
        inputs = vlm.prepare(example.image, question.text)
        with torch.no_grad():
            found = hf.generate(**inputs, max_new_tokens=16, do_sample=False)[0, inputs.shape[1] :]
        mine = answers[(answers["question"] == question.text) & (answers["method"] == NAIVE)].iloc[0]
        assert mine["said"] == vlm.tokenizer.decode(found, skip_special_tokens=True)
        assert (mine["n_held"], mine["n_new"]) == (0, inputs.shape[1])


def test_each_question_is_asked_once_of_each_method_and_none_of_another_kind() -> None:
    context, answers = default_rows()
    for example in context.data:
        asked = {one.text for one in example.questions if one.answer in ("Yes", "No")}
        for _, group in answers[answers["example"] == example.id].groupby("method"):
            assert sorted(group["question"]) == sorted(asked)
    assert set(answers["method"]) == {NAIVE, *CONTEXTS}


def test_the_papers_prompt_has_a_system_prompt_and_stands_behind_a_space() -> None:
    contexts = {preset: context_of(EXPERIMENT, preset=preset) for preset in ("default", "paper")}
    prompts = {name: describing(context, context.data[0]).prompts[0] for name, context in contexts.items()}
    assert prompts["paper"].startswith("A chat between a curious human")
    assert "<image>\n describe the image ASSISTANT:" in prompts["paper"]
    assert "Describe this image." in prompts["default"] and "A chat between" not in prompts["default"]


def test_a_question_is_written_as_the_prompt_was() -> None:
    paper = context_of(EXPERIMENT, n=1, preset="paper", max_new_tokens=1, answer_tokens=1)
    default = context_of(EXPERIMENT, n=1, max_new_tokens=1, answer_tokens=1)
    told = {name: answers_of(context).set_index("method") for name, context in (("p", paper), ("d", default))}
    # The system prompt is read anew for a full pass, and held by a context; a question costs the same.
    assert (told["p"].loc[NAIVE, "n_new"] > told["d"].loc[NAIVE, "n_new"] + 50).all()
    assert (told["p"].loc[QUERY, "n_held"] > told["d"].loc[QUERY, "n_held"] + 50).all()
    assert (told["p"].loc[QUERY, "n_new"] < 20).all()


def wide_picture() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    (scene,) = read_scenes(1)
    return Dataset("wide", "0", (Example("1", lambda: Image.fromarray(pixels), (60, 120), questions=scene.questions),))


@pytest.mark.parametrize(("preset", "is_padded"), [("default", False), ("paper", True)])
def test_the_paper_pads_pictures_that_are_not_square(preset: str, is_padded: bool) -> None:
    options = EXPERIMENT.Options.preset(preset)
    context = Context(demo(), EXPERIMENT.chosen(wide_picture(), options), options, 0, Path(), False)
    geometry = describing(context, context.data[0]).layout.image_span(0).geometry
    assert geometry is not None and geometry.is_padded_to_square is is_padded


def test_presets_agree_where_no_quirk_acts() -> None:
    same = {"prompt": "Describe this image.", "template": None, "max_new_tokens": 6}
    paper = answers_of(context_of(EXPERIMENT, preset="paper", **same))
    _, default = default_rows()
    # Square pictures, and answers that begin with the word.
    pd.testing.assert_frame_equal(paper, default)


@pytest.mark.parametrize(("preset", "says"), [("default", "no"), ("paper", None)])
def test_an_answer_in_a_sentence_is_read_by_whole_words_and_not_by_the_paper(preset: str, says: str | None) -> None:
    with answering("There is no such thing.") as (address, asked):
        llm = f"chat:m@{address},api_key_env=null,cache_folder=null"
        context = context_of(EXPERIMENT, n=1, preset=preset, llm=llm, max_new_tokens=2, answer_tokens=2)
        rows = EXPERIMENT.rows(context, context.data)
        facts = EXPERIMENT.facts(context)
    described = pd.DataFrame([row for row in rows["answers"] if row["method"] == DESCRIBE])
    assert described["says"].tolist() == [says] * 2
    description = rows["descriptions"][0]["description"]
    before = f"Here is a description of an image: {description}\n"
    told = [f"{before}{one}\nAnswer yes or no." for one in described["question"]]
    assert [messages[0]["content"] for messages in asked] == told
    assert f"model=m, base_url={address}" in facts["language_model"]
    (cost,) = context.costs
    assert "2 answers" in cost and "0 more from the cache" in cost


def test_the_models_own_decoder_reads_its_description_without_a_picture() -> None:
    context = context_of(EXPERIMENT, n=1, llm="self", llm_prompt="{description} {question}", max_new_tokens=8)
    rows = EXPERIMENT.rows(context, context.data)
    answers = pd.DataFrame(rows["answers"])
    for row in answers[answers["method"] == DESCRIBE].itertuples():
        prompt = f"{rows['descriptions'][0]['description']} {row.question}"
        inputs = demo().prepare(None, prompt, template="chat")
        assert not inputs.layout.images[0] and row.n_new == inputs.shape[1]
        assert row.said == demo().generate(inputs, max_new_tokens=16).text


def test_mme_is_asked_task_by_task(tmp_path: Path) -> None:
    for task, question in (("count", "Are there two dogs?"), ("OCR", "Is it the word cat?")):
        (tmp_path / task).mkdir()
        pixels = np.random.default_rng(len(task)).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / task / "1.png")
        lines = f"{question}\tYes\n{question} Or not?\tNo\n"
        (tmp_path / task / "1.txt").write_text(lines)
    options = EXPERIMENT.Options().but(max_new_tokens=2, answer_tokens=2)
    data = EXPERIMENT.chosen(read_mme(str(tmp_path), "count+OCR"), options)
    context = Context(demo(), data, options, 0, Path(), shows_progress=False)
    answers = answers_of(context)
    assert answers.groupby(["task", "answer"]).size().tolist() == [5] * 4
    one_task = EXPERIMENT.chosen(read_mme(str(tmp_path), "all"), options.but(tasks=("ocr",)))
    assert [one.id for one in one_task] == ["OCR/1"]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"reading": "anywhere"}, "words, first four"),
        ({"llm_prompt": "{question}"}, r"no \{description\}"),
        ({"tasks": ("cooking",)}, "at least one example"),
    ],
)
def test_options_that_mean_nothing_are_refused(option: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        EXPERIMENT.chosen(read_scenes(1), EXPERIMENT.Options().but(**option)).some()


@pytest.mark.parametrize("llm", ["gpt", "objects", "chat:"])
def test_a_language_model_that_does_not_exist_is_refused(llm: str) -> None:
    with pytest.raises(InputError, match="self|name of a model"):
        EXPERIMENT.facts(context_of(EXPERIMENT, n=1, llm=llm))

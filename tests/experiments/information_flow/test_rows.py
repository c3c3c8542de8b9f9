"""The rows of the knockouts: equal to plain loops, and where the presets part."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.experiments.described_scenes import SHORT, context_of, demo, plain_demo
from tests.interventions.plain_transformers import edges
from vlm_lens.data import read_scenes
from vlm_lens.data.selections import listed_ids
from vlm_lens.errors import InputError
from vlm_lens.experiments import descriptions
from vlm_lens.experiments.information_flow import InformationFlow
from vlm_lens.experiments.information_flow.knockouts import FROM, OUTSIDE, TO_BOTH, TO_GENERATED, TO_TEXT
from vlm_lens.inputs.templates import V1_SYSTEM_PROMPT
from vlm_lens.metrics.judges import judge_named

N_HEADS, N_LAYERS = 6, 6


def rows_of(n: int = 1, preset: str = "default", **options: Any) -> list[dict[str, Any]]:
    context = context_of(InformationFlow(), n, preset, **options)
    return list(InformationFlow().rows(context, context.data)["descriptions"])


def row_of(rows: list[dict[str, Any]], *place: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if (row["knockout"], row["layers"], row["first"]) == place]
    return found


@pytest.mark.parametrize(
    ("place", "queries"),
    [
        ((TO_GENERATED, FROM, 1), lambda text, n: range(n - 1, n + SHORT)),
        ((TO_BOTH, OUTSIDE, 1), lambda text, n: [*text, *range(n, n + SHORT)]),
        ((TO_TEXT, FROM, 0), lambda text, n: text),
    ],
)
def test_a_description_equals_the_uncached_loop_of_plain_transformers(place: Any, queries: Any) -> None:
    context = context_of(InformationFlow(), 1, max_new_tokens=SHORT)
    grid = InformationFlow().grid(context, context.data[0])
    inputs = grid.inputs
    text, image = (list(inputs.layout.positions(name)) for name in ("prompt_text", "image"))
    layers = range(place[2], N_LAYERS) if place[1] == FROM else [0, 4, 5]
    n = inputs.layout.n_prompt

    def blocked(n_positions: int) -> Any:
        rows = [row for row in queries(text, n) if row < n_positions]
        return edges("decoder", layers, range(N_HEADS), 0, rows, image)

    with torch.no_grad():
        tokens, _ = plain_demo().greedy(inputs, SHORT, blocked)
    expected = demo().tokenizer.decode(tokens[0].tolist(), skip_special_tokens=True).strip()
    found = row_of(InformationFlow().rows(context, context.data)["descriptions"], *place)
    assert (found["text"], found["n_tokens"], found["is_cut"]) == (expected, SHORT, True)


def test_each_row_is_the_judges_comparison_with_the_models_own_description() -> None:
    rows = rows_of(max_new_tokens=60, stride=5)
    own, judge = row_of(rows, "none", "none", N_LAYERS), judge_named("objects")
    assert len(rows) == 1 + 3 * 3 and own["f1"] == 1 and not own["is_cut"]
    for row in rows:
        compared = judge.compare(own["text"], row["text"])
        assert (row["n_matched"], row["n_lost"], row["n_invented"], row["f1"]) == (
            len(compared.matched), len(compared.lost), len(compared.invented), compared.f1,
        )  # fmt: skip
        assert row["n_reference"] == own["n_reference"] > 0
    assert row_of(rows, TO_GENERATED, FROM, 0)["f1"] < 0.5  # the picture is gone


def test_the_presets_part_at_the_first_generated_token_and_there_alone() -> None:
    """Published: the last prompt row still sees the picture. Here it does not, unless it is blocked as query text."""
    first = {}
    for queries in ("predicting", "generated"):
        context = context_of(InformationFlow(), 1, max_new_tokens=2, queries=queries, stride=6)
        grid = InformationFlow().grid(context, context.data[0])
        found = context.sweep(grid)
        logits = {name[0]: cell.generation.logits[0, 0] for name, cell in zip(grid.conditions, found, strict=True)}
        first[queries] = {**logits, "clean": found.clean.generation.logits[0, 0]}
    published, ours = first["generated"], first["predicting"]
    assert torch.equal(published[TO_GENERATED], published["clean"])
    assert float((ours[TO_GENERATED] - ours["clean"]).abs().max()) > 0.1
    for same in (TO_TEXT, "clean"):
        torch.testing.assert_close(published[same], ours[same])
    torch.testing.assert_close(published[TO_BOTH], ours[TO_BOTH])  # as query text that row is blocked in both


def test_the_presets_write_the_prompt_and_prepare_the_picture_otherwise() -> None:
    layouts = {}
    for preset in ("default", "paper"):
        context = context_of(InformationFlow(), 1, preset)
        wide = replace(context.data[0], read_image=lambda: Image.new("RGB", (200, 100)), size=None)
        layouts[preset] = descriptions.describing(context, wide).layout
    assert layouts["paper"].text() == f"<s> {V1_SYSTEM_PROMPT} USER: \n describe the image ASSISTANT:"
    assert layouts["default"].text() == "<s> USER: \nDescribe this image. ASSISTANT:"
    # A pixel at the left end of a wide picture: padding keeps it, the checkpoint's own crop does not.
    left = np.zeros((100, 200), bool)
    left[:, 0] = True
    assert len(layouts["paper"].region(left)) > 0
    with pytest.raises(InputError, match="after the crop"):
        layouts["default"].region(left)


def test_the_rows_of_a_picture_do_not_depend_on_what_is_run_with_it() -> None:
    together = rows_of(2, max_new_tokens=SHORT, stride=3)
    context = context_of(InformationFlow(), 2, max_new_tokens=SHORT, stride=3)
    alone = [
        row for example in (1, 0) for row in InformationFlow().rows(context, [context.data[example]])["descriptions"]
    ]
    assert sorted(alone, key=str) == sorted(together, key=str)


def test_conditions_whose_logits_do_not_fit_together_are_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows_of(max_new_tokens=SHORT, stride=2)
    monkeypatch.setattr(descriptions, "_LOGIT_BYTES", 3 * 4 * SHORT * len(demo().embed.W_E))
    context = context_of(InformationFlow(), 1, max_new_tokens=SHORT, stride=2)
    parts = list(descriptions.in_parts(context, InformationFlow().grid(context, context.data[0])))
    assert [len(names) for names, _ in parts] == [3, 3, 3, 3]
    assert rows_of(max_new_tokens=SHORT, stride=2) == whole


def test_the_papers_81_pictures_are_chosen_by_their_list() -> None:
    data, experiment = read_scenes(3), InformationFlow()
    among = replace(data, examples=(data[0], replace(data[1], id=listed_ids()[0]), data[2]))
    found = experiment.chosen(among, experiment.Options(ids="whats-in-the-image"))
    assert [one.id for one in found] == [listed_ids()[0]] and len(listed_ids()) == 81
    assert [(step.n_before, step.n_after) for step in found.steps] == [(3, 1)]
    assert len(experiment.chosen(among, experiment.Options())) == 3

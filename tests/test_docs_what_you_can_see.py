"""docs/what_you_can_see.md says what was measured, runs as it stands, and can be made again."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from docs.make_what_you_can_see import FOLDER, SECTIONS, kept, main, render, rows_of
from docs.seen import ablation, attention, focus, knockout, lens
from docs.seen.questions import ON, PRESENCE, questions
from docs.seen.rows import mean_of_shares, median_with_interval, table
from vlm_lens import HookedVLM
from vlm_lens.demo.evaluation.intervals import mean as mean_with_interval
from vlm_lens.demo.evaluation.loaded import Question, load
from vlm_lens.demo.evaluation.localisation import answer_with_mean_at

PAGE, DATA = FOLDER / "what_you_can_see.md", FOLDER / "data" / "what_you_can_see.json"


# The page that is kept


def test_the_page_and_its_tables_are_those_of_the_numbers() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(kept(DATA)), "run: make see"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_number_has_an_interval_around_it_and_says_n(name: str) -> None:
    rows = rows_of(kept(DATA), name)
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    assert rows["n"].between(100, 300).all()
    assert rows.notna().all(axis=None)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_its_picture(name: str) -> None:
    assert (FOLDER / "images" / f"see_{name}.png").stat().st_size > 5_000
    assert f"(images/see_{name}.png)" in PAGE.read_text(encoding="utf-8")


def test_the_code_on_the_page_runs() -> None:
    names: dict[str, Any] = {"__name__": "what_you_can_see"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    vlm = names["vlm"]
    yes, no = vlm.to_single_token(" Yes"), vlm.to_single_token(" No")
    gone, others_gone = (names[f"with_{one}_gone"].logits[0, -1] for one in ("the_object", "as_many_others"))
    assert gone[no] > gone[yes] and others_gone[yes] > others_gone[no]


@pytest.mark.parametrize("page", ["interventions.md", "probes.md"])
def test_another_page_cites_what_this_one_says(page: str) -> None:
    paragraphs = (FOLDER / page).read_text(encoding="utf-8").split("\n\n")
    cited = [re.findall(r"\d\.\d{3} \[[^]]+\]", one) for one in paragraphs if f"({PAGE.name})" in one]
    assert any(cited)
    assert [figure for one in cited for figure in one if figure not in PAGE.read_text(encoding="utf-8")] == []


# The command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("see")
    main(["--n", "2", "--out", str(folder), "--workers", "1", "--no-figures"])
    return folder


def test_the_command_writes_page_and_numbers(made: Path) -> None:
    data = kept(made / "data" / "what_you_can_see.json")
    assert list(data) == list(SECTIONS) and all(one["n"] == 2 for one in data.values())
    assert (made / "what_you_can_see.md").read_text(encoding="utf-8") == render(data)
    for name, section in SECTIONS.items():
        assert rows_of(data, name).columns.tolist() == rows_of(kept(DATA), name).columns.tolist()
        assert section.figure(rows_of(data, name)).layout.height


def test_what_is_there_is_not_measured_again_and_the_rest_comes_out_the_same(made: Path) -> None:
    file = made / "data" / "what_you_can_see.json"
    before = kept(file)
    marked = {**before, "ablation": {**before["ablation"], "seconds": 12345}}
    del marked["lens"]
    file.write_text(json.dumps(marked), encoding="utf-8")
    main(["--n", "2", "--out", str(made), "--workers", "1", "--no-figures", "--again", "focus"])
    after = kept(file)
    assert after["ablation"]["seconds"] == 12345
    assert {name: one["rows"] for name, one in after.items()} == {name: one["rows"] for name, one in before.items()}


# The measurements


def test_an_ablation_is_that_of_plain_transformers(made: Path) -> None:
    """P(Yes) with the same vector put in by a hook of torch on the checkpoint as transformers loads it."""
    vlm = HookedVLM.demo()
    asked = questions(vlm, PRESENCE, 2)
    rows = rows_of(kept(made / "data" / "what_you_can_see.json"), "ablation")
    models = load(Path(ablation.__file__).parents[2] / "vlm_lens" / "demo" / "weights")
    pictures = [ablation.draw_scene(ablation.FIRST_OTHER + seed, "heldout").image for seed in range(100)]
    inputs = models.processor(images=pictures, text=["USER: <image>"] * len(pictures), return_tensors="pt")
    with torch.no_grad():
        average = torch.cat(models.vlm.get_image_features(inputs["pixel_values"]).pooler_output).mean(dim=0)
    regions = [vlm.prepare(one.scene.image, one.prompt).layout.region(one.subject.mask).dilate(1) for one in asked]
    replaced = np.stack([region.patches.numpy().ravel() for region in regions])
    plain = [Question(one.scene, one.prompt, "", "Yes") for one in asked]
    logits = answer_with_mean_at(models, plain, replaced, average)
    yes, no = (vlm.to_single_token(f" {word}") for word in ("Yes", "No"))
    expected = logits[:, [yes, no]].double().softmax(dim=-1)[:, 0].mean()
    found = rows[(rows["condition"] == "object + 1") & (rows["of"] == "probability") & (rows["question"] == PRESENCE)]
    assert found["value"].item() == pytest.approx(expected.item(), abs=6e-5)  # four decimals
    assert found["patches"].item() == pytest.approx(replaced.sum(axis=1).mean())


@pytest.mark.parametrize("question", [PRESENCE, ON])
def test_questions_are_answered_when_nothing_is_done(question: str) -> None:
    rows = rows_of(kept(DATA), "ablation")
    intact = rows[(rows["question"] == question) & (rows["condition"] == "nothing") & (rows["of"] == "right")]
    assert intact["value"].item() > 0.9


def test_a_window_of_a_knockout_lies_within_all_layers() -> None:
    windows = knockout.windows(6)
    assert list(windows) == ["0-1", "1-2", "2-3", "3-4", "4-5", "all"]
    assert list(windows["4-5"]) == [4, 5]  # type: ignore[call-overload]


def test_shares_of_attention_sum_to_one_in_the_mean() -> None:
    rows = rows_of(kept(DATA), "attention")
    sums = rows[rows["whose"] == attention.ALL].groupby("layer")["value"].sum()
    assert sums.to_numpy() == pytest.approx(1, abs=6e-4)  # six groups, each to four decimals


def test_a_focus_on_random_patches_has_as_many_as_the_object() -> None:
    vlm = HookedVLM.demo()
    (asked,) = questions(vlm, PRESENCE, 1)
    region = vlm.prepare(asked.scene.image, asked.prompt).layout.region(asked.subject.mask)
    seen: list[Any] = []
    focus.at_random(lambda regions: seen.extend(regions) or [])([region])
    assert len(seen[0]) == len(region) and seen[0].patch_ids != region.patch_ids


def test_places_of_a_word_keep_apart() -> None:
    vlm = HookedVLM.demo()
    scene = next(one for one in lens.scenes(20) if len(one.objects) > 1)
    layout = vlm.prepare(scene.image, "What?").layout
    own = {one.kind: layout.region(one.mask) for one in scene.objects}
    core = {one.kind: layout.region(one.mask, threshold=lens.LEAST_COVERAGE) for one in scene.objects}
    for kind in own:
        found = {where: region for word, where, region in lens.places(own, core) if word == kind}
        assert found[lens.OWN] <= own[kind]
        assert not any(found[lens.OTHER] & own[kind]) and not any(found[lens.NONE] & own[kind].dilate(1))


# Rows and intervals


def test_an_interval_of_a_share_ends_where_shares_do() -> None:
    values = np.array([1.0, 1.0, 1.0, 0.5])
    found, plain = mean_of_shares(values), mean_with_interval(values)
    assert (found.value, found.low, found.high) == (plain.value, plain.low, 1.0) and plain.high > 1


def test_the_interval_of_a_median_holds_it_in_95_of_100_samples() -> None:
    random = np.random.default_rng(0)
    holds = []
    for _ in range(400):
        found = median_with_interval(random.exponential(size=41).tolist())
        holds.append(found.low <= np.log(2) <= found.high)
    assert 0.93 <= np.mean(holds) <= 0.99


def test_a_table_says_n_once_where_it_is_one() -> None:
    rows = pd.DataFrame(
        [{"layer": layer, "group": group, "value": 0.5, "low": 0.25, "high": 1.0, "n": n}
         for layer in (0, 1) for group, n in (("a", 7), ("b", 9))]
    )  # fmt: skip
    assert table(rows, "layer", "group").splitlines()[0] == "| layer | a, N = 7 | b, N = 9 |"
    assert table(rows.assign(n=7), "layer", "group").splitlines() == [
        "| layer (N = 7) | a | b |",
        "|---|---|---|",
        "| 0 | 0.500 [0.250, 1.000] | 0.500 [0.250, 1.000] |",
        "| 1 | 0.500 [0.250, 1.000] | 0.500 [0.250, 1.000] |",
    ]
    rows.loc[0, "n"] = 8
    assert "0.500 [0.250, 1.000], N = 8" in table(rows, "layer", "group")

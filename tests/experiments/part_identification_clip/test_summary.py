"""CLIP's tables of rows that were made up, alone and beside a run of part-identification."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments import run_experiment
from vlm_lens.experiments.part_identification_clip import PartIdentificationClip
from vlm_lens.experiments.part_identification_clip.summary import chosen_layer
from vlm_lens.experiments.summary import Summary

FACTS = {"clip": "made up", "n_layers": 4, "n_candidates": 100, "steps": ["a filter: 9 -> 4 objects."]}


def made_up(held: float = 0.8, whole: float = 0.4, held_object: float = 0.5) -> dict[str, pd.DataFrame]:
    """The part held to from layer 3 on scores `held`, from earlier ones less; the object 0.7 of the whole picture."""
    regions, scores = [], []
    for place, part in product(range(4), ("eye", "leg")):
        category = ("cat", "dog")[place % 2]
        regions.append({"example": str(place), "class": category, "part": part, "n_patches": 1 + (part == "leg"),
                        "share": 0.01 * (1 + place) * (1 + (part == "leg")), "aliases": 1, "pieces": "", "chance": 0.1,
                        "object_aliases": 1, "object_pieces": "", "object_chance": 0.1})  # fmt: skip
        for layer in range(5):
            score = whole if layer == 4 else held - 0.05 * (3 - layer)
            scores.append({"example": str(place), "class": category, "part": part, "from_layer": layer, "score": score,
                           "null": 0.2, "object_score": 0.7 if layer == 4 else held_object,
                           "object_null": 0.2})  # fmt: skip
    return {"regions": pd.DataFrame(regions), "scores": pd.DataFrame(scores)}


def summary(rows: dict[str, pd.DataFrame], **options: Any) -> Summary:
    experiment = PartIdentificationClip()
    return experiment.summarised(rows, experiment.Options().but(**options), FACTS)


def test_the_layer_of_the_paper_is_at_its_share_of_the_depth() -> None:
    frame = pd.DataFrame({"class": "all", "from_layer": [0, 1, 24], "score": [0.1, 0.5, 0.9]})
    assert [chosen_layer(frame, "paper", depth) for depth in (24, 6, 4)] == [22, 5, 3]
    assert chosen_layer(frame, "best", 24) == 1
    with pytest.raises(InputError, match="0 to 23"):
        chosen_layer(frame, "24", 24)


def test_the_whole_picture_stands_beside_the_part_alone() -> None:
    layout = summary(made_up()).tables["part and object"].layout
    assert list(layout.index) == ["cat", "dog", "all"]
    assert list(layout) == [("CLIP", "part"), ("CLIP", "object"), ("CLIP, layer 3", "part"),
                            ("CLIP, layer 3", "object"), ("CLIP, layer 3", "part elsewhere"),
                            ("CLIP, layer 3", "object elsewhere")]  # fmt: skip
    assert layout.loc["all", ("CLIP, layer 3", "part")].startswith("0.80")


def test_layers_go_from_none_down_to_all() -> None:
    found = summary(made_up()).tables["layers"].tidy
    assert found[found["class"] == "all"]["from_layer"].tolist() == [4, 3, 2, 1, 0]
    assert found[found["class"] == "all"]["value"].tolist() == pytest.approx([0.4, 0.8, 0.75, 0.7, 0.65])


def test_findings_follow_the_rows() -> None:
    assert [one.agrees for one in summary(made_up()).findings] == [True, True, True, None]
    opposite = summary(made_up(held=0.3, whole=0.6, held_object=0.9)).findings
    assert [one.agrees for one in opposite][:3] == [False, False, False]
    assert summary(made_up(held=0.41, whole=0.4)).findings[0].agrees is False, "better, and not far better"


def test_a_best_layer_that_is_best_by_chance_decides_nothing() -> None:
    rows = made_up()
    scores = rows["scores"]
    noise = scores["example"].map({"0": 0.2, "1": -0.2, "2": 0.2, "3": -0.1})
    scores["score"] = 0.5 + noise * (scores["from_layer"] == 3)
    (found,) = [one for one in summary(rows).findings if "last layers" in one.claim]
    assert found.agrees is None and "The best, 3," in found.told


def test_nothing_readable_is_refused() -> None:
    with pytest.raises(InputError, match="8 parts, none readable"):
        summary({"regions": made_up()["regions"]})


def test_a_run_of_the_language_model_stands_beside(tmp_path: Path) -> None:
    run = run_experiment(
        "part-identification", demo(), read_scenes(4), out=tmp_path / "run", shows_progress=False, classes="boat",
        least_share=0.03, settings="none", filters_captions=False,
    )  # fmt: skip
    given = {"classes": "boat", "least_share": 0.03, "candidates": "words"}
    found = run_experiment(
        "part-identification-clip", demo(), read_scenes(4), shows_progress=False, beside=str(tmp_path / "run"), **given
    )
    models = list(dict.fromkeys(found.to_dataframe("part and object")["model"]))
    assert models[:2] == ["CLIP", "CLIP, layer 5"] and len(models) == 3
    beside = found.to_dataframe("part and object").query("model == @models[2] and what == 'part'")["value"]
    own = run.to_dataframe("part and object").query("what == 'part'")["value"]
    assert beside.tolist() == own.tolist()
    assert "over 3 regions that both read" in found.found.findings[-1].told
    assert {trace.name for trace in found.plot("sizes").data if trace.showlegend} >= {"CLIP", models[2]}
    assert all(found.plot(name).data for name in found.figures)

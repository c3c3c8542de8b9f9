"""docs/experiments.md says what was measured, names every option and quirk, and its code runs."""

import re
from dataclasses import fields
from typing import Any

import pandas as pd
import pytest

from docs.make_experiments import FOLDER, kept, main
from docs.reproduced.page import picture_of, rendered
from docs.reproduced.runs import RUNS
from vlm_lens.experiments import experiments

PAGE, DATA = FOLDER / "experiments.md", FOLDER / "data" / "experiments.json"
NAMES = [one.experiment for one in RUNS]


def test_the_page_is_that_of_the_numbers() -> None:
    assert PAGE.read_text(encoding="utf-8") == rendered(kept(DATA)), "run: make reproduce"


def test_every_experiment_is_on_it() -> None:
    shipped = [name for name, one in experiments().items() if type(one).__module__.startswith("vlm_lens.")]
    assert sorted(NAMES) == sorted(shipped) == sorted(kept(DATA))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_a_table_lies_in_its_interval_and_says_n(name: str) -> None:
    for told, table in kept(DATA)[name]["tables"].items():
        rows = pd.DataFrame(table["rows"])
        assert {"value", "low", "high", "n"} <= set(rows.columns), told
        known = rows.dropna(subset=["value", "low", "high"])
        assert (known["low"] <= known["value"] + 1e-9).all() and (known["value"] <= known["high"] + 1e-9).all(), told
        assert (known["n"] >= 2).all(), told
        assert table["caption"].endswith((".", ".)")), told


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_its_picture(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert kept(DATA)[name]["figures"]
    for figure in kept(DATA)[name]["figures"]:
        picture = picture_of(name, figure)
        assert f"(images/{picture})" in text
        assert (FOLDER / "images" / picture).stat().st_size > 5_000


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_quirk_is_named(name: str) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    for option in fields(experiments()[name].Options):
        assert f"| `{option.name}` |" in section
        assert option.metadata["quirk"].replace("|", "\\|") in section


def test_object_ablation_stands_well_above_random_at_equal_counts() -> None:
    """By intervals that lie apart, in all three tasks, for the object with and without its neighbours."""
    rows = pd.DataFrame(kept(DATA)["object-ablation"]["tables"]["equal counts"]["rows"])
    compared = 0
    for _, one in rows.groupby(["as many as", "task"]):
        by_tokens = one.set_index("tokens")
        assert by_tokens.loc["the object's", "low"] > by_tokens.loc["Random", "high"]
        compared += 1
    assert compared == 9


def test_the_code_on_the_page_runs() -> None:
    names: dict[str, Any] = {"__name__": "experiments"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["found"].findings and list(names["found"].summary().columns)[0] == "early"


def test_the_page_can_be_made_again(tmp_path: Any) -> None:
    places = ["--kept", str(tmp_path / "runs"), "--out", str(tmp_path)]
    main(["--only", "attention-blocking", "--n", "4", *places, "--no-figures"])
    assert "## attention-blocking" in (tmp_path / "experiments.md").read_text(encoding="utf-8")
    assert kept(tmp_path / "data" / "experiments.json")["attention-blocking"]["data"]["n"] == 4

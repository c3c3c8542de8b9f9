"""The blocks of docs/sweeps.md run as they stand, and show what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "sweeps.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks leave behind."""
    left: dict[str, Any] = {"__name__": "sweeps"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "sweeps.md", "exec"), left)
    return left


def test_the_grid_costs_what_the_page_says(names: dict[str, Any]) -> None:
    said = re.search(r"# (\d+) conditions in ([\d.]+) forward passes", PAGE)
    assert said is not None
    plan = names["results"].plan
    assert len(plan.lines) == int(said[1]) and plan.n_passes == pytest.approx(float(said[2]), abs=0.02)


def test_the_words_carry_the_answer_to_the_last_row(names: dict[str, Any]) -> None:
    results = names["results"]
    values = results.values()[..., 0]
    assert values.shape == (4, 3)
    assert values[3, 2] < 0.5 < values[3, 0]


def test_each_way_of_the_table_is_one_that_plans_have(names: dict[str, Any]) -> None:
    from typing import get_args

    from vlm_lens.sweeps.plan import Way

    section = PAGE.split("| way | when | computed |")[1].split("```")[0]
    assert [line.split("|")[1].strip() for line in section.strip().splitlines()[1:]] == list(get_args(Way))


def test_the_three_conditions_go_three_ways(names: dict[str, Any]) -> None:
    assert [line.way for line in names["sweep"].plan.lines] == ["rows", "decoder", "as it is"]

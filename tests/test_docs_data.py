"""The blocks of docs/data.md run as they stand, and its table names every format."""

import re
from pathlib import Path
from typing import Any

import pytest

from vlm_lens.data.open import READERS

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks leave behind."""
    left: dict[str, Any] = {"__name__": "data"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "data.md", "exec"), left)
    return left


def test_every_format_has_a_line() -> None:
    lines = re.findall(r"^\| `([a-z-]+)[:,]", PAGE, flags=re.MULTILINE)
    assert sorted(lines) == sorted(READERS)


def test_filters_count_what_they_leave(names: dict[str, Any]) -> None:
    steps = names["small"].steps
    assert len(steps) == 3 and steps[0].n_before == len(names["data"]) and steps[-1].n_after == len(names["small"])


def test_a_label_has_tokens_and_spellings_that_are_split(names: dict[str, Any]) -> None:
    assert {" leg", " legs"} <= set(names["leg"].forms) and names["leg"].split

"""The blocks of docs/interventions.md run as they stand, section by section, after those before the first section."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_lens import Writer, interventions

PAGE = Path(__file__).parents[1] / "docs" / "interventions.md"
OPENING, *SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def names_after(*texts: str) -> dict[str, Any]:
    """What the blocks of some text leave behind."""
    names: dict[str, Any] = {"__name__": "interventions"}
    for block in re.findall(r"```python\n(.*?)```", "".join(texts), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


@pytest.fixture(scope="module", params=SECTIONS, ids=lambda section: section.split("\n")[0])
def section(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A section, and what its blocks leave behind."""
    return request.param, names_after(OPENING, request.param)


def test_a_section_runs_and_shows_what_it_says(section: tuple[str, dict[str, Any]]) -> None:
    text, names = section
    title = text.split("\n")[0]
    assert title in SHOWN, "say what the section shows"
    SHOWN[title](text, names)


def blocking_moves_the_answer(text: str, names: dict[str, Any]) -> None:
    assert min(names["by_window"].values()) < 0.5 < max(names["by_window"].values())


def the_object_holds_the_answer(text: str, names: dict[str, Any]) -> None:
    found = names["found"]
    assert max(found[f"object{more}"] for more in ("", " + 1", " + 2")) < 0.2
    assert min(found[f"random, {where}"] for where in ("anywhere", "elsewhere")) > 0.9


def the_grid_is_the_table(text: str, names: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (\d) \|(.*)\|$", text, flags=re.MULTILINE)
    recovered = names["found"].recovered[0]
    assert [len(cells.split("|")) for _, cells in rows] == [len(names["groups"])] * 4
    for layer, cells in rows:
        written = [float(cell) for cell in cells.split("|")]
        np.testing.assert_allclose(recovered[int(layer)], written, atol=0.0051)  # two digits


def steering_turns_the_answer(text: str, names: dict[str, Any]) -> None:
    yes, _ = names["yes_no"]
    assert int(names["steered"].logits[0, -1].argmax()) == yes
    assert (f"{names['away']:.2f}", f"{names['p_yes']():.2f}") == ("0.48", "1.00")


def few_tokens_answer(text: str, names: dict[str, Any]) -> None:
    assert names["answer"] == "Yes"


SHOWN: dict[str, Callable[[str, dict[str, Any]], None]] = {
    "Blocking attention": blocking_moves_the_answer,
    "Averaging out what was seen": the_object_holds_the_answer,
    "Patching activations": the_grid_is_the_table,
    "Steering": steering_turns_the_answer,
    "Keeping the most attended image tokens": few_tokens_answer,
}


def test_the_table_on_top_has_every_intervention() -> None:
    public = {name for name in interventions.__all__ if issubclass(getattr(interventions, name), Writer)}
    assert set(re.findall(r"^\| \[`(\w+)\(", OPENING, flags=re.MULTILINE)) == public

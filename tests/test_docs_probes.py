"""The blocks of docs/probes.md run as they stand, section by section after the page's first, and give what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from vlm_lens import Reader, probes
from vlm_lens.attachments import Measure

PAGE = (Path(__file__).parents[1] / "docs" / "probes.md").read_text(encoding="utf-8")
OPENING, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def names_after(text: str) -> dict[str, Any]:
    """What the page's first blocks and those of a section leave behind."""
    names: dict[str, Any] = {"__name__": "probes"}
    for block in re.findall(r"```python\n(.*?)```", OPENING + text, flags=re.DOTALL):
        exec(compile(block, "probes.md", "exec"), names)
    return names


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_a_section_runs_and_gives_what_it_says(section: str) -> None:
    names = names_after(section)
    if section.startswith("The logit lens"):
        assert names["reading"].states[0] == "embed" and names["reading"].targets == ("cat", "fur")
    if section.startswith("Where attention goes"):
        assert "A brown cat is on the rug in the middle." in names["answer"].text
    if section.startswith("Attribution"):
        run = names["run"]
        said = re.findall(r"^run\[(layers|line)\] +# (.*?)(?: \.\.\.|$)", section, flags=re.MULTILINE)
        assert [name for name, _ in said] == ["layers", "line"]
        assert all(text in repr(run[names[name]]) for name, text in said), [repr(run[names[name]]) for name, _ in said]


def test_the_table_on_top_has_every_probe() -> None:
    kinds = (Reader, Measure)
    public = {name for name in probes.__all__ if issubclass(getattr(probes, name), kinds)}
    assert set(re.findall(r"^\| \[`(\w+)\(", OPENING, flags=re.MULTILINE)) == public


def test_the_table_on_top_says_which_verbs_take_a_probe() -> None:
    verbs = dict(re.findall(r"^\| \[`(\w+)\(.*\| ([^|]+) \|$", OPENING, flags=re.MULTILINE))
    for name, verb in verbs.items():
        assert (verb == "`vlm.run`") == issubclass(getattr(probes, name), Measure), name

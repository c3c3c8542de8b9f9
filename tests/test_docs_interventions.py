"""The blocks of docs/interventions.md run as they stand, section by section, after those before the first section."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "interventions.md"
OPENING, *SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def names_after(*texts: str) -> dict[str, Any]:
    """What the blocks of some text leave behind."""
    names: dict[str, Any] = {"__name__": "interventions"}
    for block in re.findall(r"```python\n(.*?)```", "".join(texts), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split("\n")[0])
def test_a_section_runs(section: str) -> None:
    names = names_after(OPENING, section)
    if section.startswith("Averaging out"):
        p_yes = {name: float(one) for name, one in names["p_yes"].items()}
        assert max(p_yes[f"object{more}"] for more in ("", " + 1", " + 2")) < 0.2
        assert min(p_yes[f"random, {where}"] for where in ("anywhere", "elsewhere")) > 0.9

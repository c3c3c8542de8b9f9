"""The blocks of docs/probes.md run as they stand, section by section after the page's first."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "probes.md").read_text(encoding="utf-8")
OPENING, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_the_blocks_of_a_section_run(section: str) -> None:
    names = {"__name__": "probes"}
    for block in re.findall(r"```python\n(.*?)```", OPENING + section, flags=re.DOTALL):
        exec(compile(block, "probes.md", "exec"), names)


def test_the_page_has_an_opening_block() -> None:
    assert "```python" in OPENING and SECTIONS

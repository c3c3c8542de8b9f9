"""The blocks of docs/judges.md run as they stand, and its figures are those that are measured."""

import re
from typing import Any

import pytest

from docs.make_judges import PAGE, table
from vlm_lens.metrics.judges import ChatJudge
from vlm_lens.metrics.judges.agreement import labelled_pairs
from vlm_lens.metrics.judges.object_list.lexicon import bundled_lexicon

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks leave behind."""
    left: dict[str, Any] = {"__name__": "judges"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(compile(block, "judges.md", "exec"), left)
    return left


def test_the_table_of_agreement_is_what_is_measured() -> None:
    assert f"<!-- agreement -->\n{table()}<!-- /agreement -->" in TEXT


def test_the_example_finds_what_the_page_says(names: dict[str, Any]) -> None:
    found = names["found"]
    told = [
        str([f"{one} = {other}" for one, other in found.matched]),
        str([str(one) for one in found.lost]),
        str([str(one) for one in found.invented]),
        str(tuple(round(value, 3) for value in (found.precision, found.recall, found.f1))),
    ]
    assert [line.split("# ")[1] for line in TEXT.split("```")[1].splitlines() if "  # " in line] == told


def test_the_counts_on_the_page_are_those_of_the_data(names: dict[str, Any]) -> None:
    assert f"{len(labelled_pairs())} pairs of captions were labelled" in TEXT
    lexicon = bundled_lexicon()
    assert len(lexicon.group_of) > 900 and len(lexicon.phrases) > 2 * 900
    assert f"`n_attempts` times ({ChatJudge('m').n_attempts})" in TEXT


def test_a_judge_that_compares_words_is_worse(names: dict[str, Any]) -> None:
    assert names["words"].f1_correlation < names["objects"].f1_correlation
    assert names["words"].accuracy < names["objects"].accuracy
    assert names["counted"].accuracy == 1.0

"""Figure 9 of constructed rows: the paper's columns, means by hand, claims held to intervals."""

from typing import Any

import pandas as pd
import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments.top_k_context import TopKContexts

FACTS = {"n_layers": 4, "judge": "somebody"}
SCORES = {("top", 0.0): 0.3, ("top", 0.05): 0.9, ("top", 0.2): 1.0, ("random", 0.05): 0.5, ("random", 0.2): 0.9}


def rows(scores: dict[tuple[str, float], float], n: int = 6) -> pd.DataFrame:
    found = []
    for number in range(n):
        for (order, share), f1 in {("all", 1.0): 1.0, **scores}.items():
            found.append(
                {"example": str(number), "order": order, "share": share, "n_kept": int(share * 256), "f1": f1,
                 "precision": f1, "recall": f1, "n_reference": 2, "text": "", "is_cut": False, "n_tokens": 3}
            )  # fmt: skip
    return pd.DataFrame(found)


def summed(scores: Any, preset: str = "default") -> Any:
    return TopKContexts().summarised({"descriptions": rows(scores)}, TopKContexts.Options.preset(preset), FACTS)


def test_the_layout_has_a_column_a_share_and_a_row_an_order() -> None:
    table = summed(SCORES).tables["F1"]
    assert list(table.layout.columns) == ["0%", "5%", "20%", "100%"]
    assert list(table.layout.index) == ["top", "random"]
    assert table.layout.loc["top"].tolist()[1] == "0.90 [0.90, 0.90]" and table.layout.loc["random", "0%"] == "-"
    assert "5% 12" in table.caption and "N = 6" in table.caption
    values = table.tidy.set_index(["order", "share"])["value"]
    assert values["random", 0.05] == pytest.approx(0.5) and values["random", 1.0] == 1


def test_the_papers_preset_has_no_control() -> None:
    given = {key: value for key, value in SCORES.items() if key[0] == "top"}
    found = summed(given, "paper")
    assert list(found.tables["F1"].layout.index) == ["top"] and len(found.findings) == 2


def test_what_the_paper_found_agrees_with_the_paper() -> None:
    assert [one.agrees for one in summed(SCORES).findings] == [True] * 3


@pytest.mark.parametrize(
    ("changed", "disagrees"),
    [
        ({("top", 0.05): 0.7}, 0),  # below 0.8
        ({("top", 0.0): 0.9}, 1),  # nothing was lost without any token
        ({("random", 0.05): 0.9}, 2),  # any tokens would do
    ],
)
def test_what_the_paper_did_not_find_does_not_agree(changed: Any, disagrees: int) -> None:
    agrees = [one.agrees for one in summed({**SCORES, **changed}).findings]
    assert agrees == [number != disagrees for number in range(3)]


def test_what_differs_from_picture_to_picture_is_left_open() -> None:
    found = rows(SCORES, n=3)
    shift = found["example"].map({"0": 0.5, "1": -0.3, "2": 0.0}) * (found["order"] == "random")
    found["f1"] = found["f1"].mask(found["order"] == "random", 0.85 + shift)
    claims = TopKContexts().summarised({"descriptions": found}, TopKContexts.Options(), FACTS).findings
    assert [one.agrees for one in claims] == [True, True, None]


def test_the_figure_draws_a_line_for_each_order_in_the_order_of_the_shares() -> None:
    lines = {line.name: line for line in summed(SCORES).figures["F1"]().data}
    assert list(lines["top"].y) == pytest.approx([0.3, 0.9, 1.0, 1.0])
    assert (
        list(lines["random"].y[1:]) == pytest.approx([0.5, 0.9, 1.0]) and lines["random"].y[0] != lines["random"].y[0]
    )
    assert lines["random"].line.dash == "dash" and lines["top"].line.dash is None


def test_no_picture_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        TopKContexts().summarised({"descriptions": rows(SCORES)[:0]}, TopKContexts.Options(), FACTS)

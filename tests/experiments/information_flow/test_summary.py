"""Figure 2 of constructed rows: the paper's rows and columns, figures worked out by hand, claims held to intervals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments.information_flow import InformationFlow
from vlm_lens.experiments.information_flow.knockouts import FROM, KNOCKOUTS, OUTSIDE

FACTS = {"n_layers": 4, "window": [1, 2], "judge": "somebody"}
PAPER = {"img -> gen": 0.4, "img -> txt": 0.0, "img -> txt+gen": 0.0}
OPTIONS = InformationFlow.Options()


def rows(all_layers: dict[str, float], outside: float, late: float, n: int = 8, spread: float = 0.0) -> Any:
    """Descriptions of n pictures whose F1 is constructed; it moves from picture to picture by the spread."""
    found = []
    for number in range(n):
        shift = spread * (number % 2 - 0.5)
        same = {"example": str(number), "text": "A cat.", "is_cut": False, "n_tokens": 3, "lost": "", "invented": ""}

        def row(f1: float, *place: Any, same: Any = same) -> dict[str, Any]:
            scores = {"f1": f1, "precision": f1, "recall": f1 / 2, "n_reference": 2}
            return {**same, **scores, **dict(zip(("knockout", "layers", "first"), place, strict=True))}

        found.append(row(1.0, "none", "none", 4))
        for name in KNOCKOUTS:
            found.append(row(all_layers[name] + shift, name, FROM, 0))
            found.append(row(late, name, FROM, 2))
            found.append(row(outside + shift, name, OUTSIDE, 1))
    return {"descriptions": pd.DataFrame(found)}


def summed(*given: Any, **options: Any) -> Any:
    return InformationFlow().summarised(rows(*given, **options), OPTIONS, FACTS)


def test_the_layout_is_that_of_the_paper() -> None:
    tables = summed(PAPER, 0.8, 1.0).tables
    assert list(tables["F1"].layout.index) == list(KNOCKOUTS)
    assert list(tables["F1"].layout.columns) == [
        (blocked, metric) for blocked in ("all layers", "outside 1-2") for metric in ("F1", "precision", "recall")
    ]
    assert list(tables["from layer"].layout.columns) == list(KNOCKOUTS)
    assert list(tables["from layer"].layout.index) == [0, 2, 4]


def test_figures_are_means_over_pictures() -> None:
    tables = summed(PAPER, 0.8, 1.0, spread=0.2).tables
    tidy = tables["F1"].tidy.set_index(["knockout", "blocked", "metric"])
    cell = tidy.loc[("img -> gen", "all layers", "F1")]
    # Four pictures at 0.3 and four at 0.5.
    assert cell["value"] == pytest.approx(0.4) and 0.3 <= cell["low"] < 0.4 < cell["high"] <= 0.5 and cell["n"] == 8
    assert tidy.loc[("img -> gen", "outside 1-2", "recall"), "value"] == pytest.approx(0.4)
    ends = tables["from layer"].tidy.query("first == 4")
    assert ends["value"].tolist() == [1, 1, 1]
    loss = tables["loss of F1"].tidy.set_index(["knockout", "blocked"])
    assert loss.loc[("img -> gen", "all layers"), "value"] == pytest.approx(0.6)
    assert loss.loc[("img -> txt", "outside 1-2"), "value"] == pytest.approx(0.2)


def test_what_the_paper_found_agrees_with_the_paper() -> None:
    assert [one.agrees for one in summed(PAPER, 0.8, 1.0, n=40).findings] == [True] * 4


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (({**PAPER, "img -> gen": 0.0}, 0.8, 1.0), 0),  # query text holds nothing
        (({**PAPER, "img -> txt": 0.9}, 0.8, 1.0), 1),  # and is not needed
        ((PAPER, 0.4, 1.0), 2),  # the window is no better than no layer
        ((PAPER, 0.8, 0.5), 3),  # late layers matter
    ],
)
def test_what_the_paper_did_not_find_does_not_agree(given: Any, place: int) -> None:
    agrees = [one.agrees for one in summed(*given, n=40).findings]
    assert agrees == [number != place for number in range(4)]


def test_the_first_pictures_texts_stand_side_by_side() -> None:
    layout = summed(PAPER, 0.8, 1.0).tables["descriptions"].layout
    assert list(layout.columns) == ["0", "1", "2"] and layout.index[0] == "the model's own"
    assert layout.loc["img -> gen, all layers", "0"] == "A cat. (F1 0.40)" and len(layout) == 7


def test_what_was_cut_or_named_nothing_is_said() -> None:
    given = rows(PAPER, 0.8, 1.0)
    given["descriptions"].loc[0, ["is_cut", "n_reference"]] = [True, 0]
    notes = " ".join(InformationFlow().summarised(given, OPTIONS, FACTS).notes)
    assert "1 of 8 own descriptions name no object" in notes
    assert "1 of 80 descriptions (1 of them the model's own) were cut at 300 tokens" in notes


def test_no_picture_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        InformationFlow().summarised({"descriptions": rows(PAPER, 0.8, 1.0)["descriptions"][:0]}, OPTIONS, FACTS)


def test_the_figures_draw_what_the_tables_hold() -> None:
    found = summed(PAPER, 0.8, 0.9)
    bars, curves = found.figures["bars"](), found.figures["from layer"]()
    heights = {bar.name: list(bar.y) for bar in bars.data}
    assert heights["F1, all layers"] == pytest.approx([0.4, 0.0, 0.0])
    assert heights["recall, outside 1-2"] == pytest.approx([0.4] * 3)
    dashed = {bar.name: bar.marker.pattern.shape for bar in bars.data}
    assert dashed["F1, all layers"] == "" and dashed["F1, outside 1-2"] == "/"
    assert [list(np.round(line.y, 3)) for line in curves.data] == [[0.4, 0.9, 1], [0, 0.9, 1], [0, 0.9, 1]]
    (window,) = curves.layout.shapes
    assert (window.x0, window.x1) == (0.5, 1.5)  # layer 2 alone is tried inside of 1-2


def test_two_pictures_that_differ_leave_the_claims_open() -> None:
    given = rows({**PAPER, "img -> gen": 0.1}, 0.6, 0.9, n=2, spread=0.4)
    given["descriptions"]["f1"] += [0.2 * (number % 3 - 1) for number in range(len(given["descriptions"]))]
    found = InformationFlow().summarised(given, OPTIONS, FACTS).findings
    assert False not in [one.agrees for one in found] and None in [one.agrees for one in found]

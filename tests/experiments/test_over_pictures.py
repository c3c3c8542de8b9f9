"""Means of rows for each group, with intervals over pictures; and the papers' layout."""

import numpy as np
import pandas as pd
import pytest

from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.summary import laid_out
from vlm_lens.metrics.intervals import mean_over_pictures

ROWS = pd.DataFrame(
    {
        "example": ["a", "a", "b", "a", "b", "c"],
        "group": ["late", "late", "late", "early", "early", "early"],
        "right": [True, False, True, True, True, False],
        "before": [1.0, 1.0, 1.0, 0.0, 1.0, 1.0],
    }
)


def test_rows_are_averaged_and_pictures_are_drawn() -> None:
    found = means(ROWS, "right", "group")
    assert list(found["group"]) == ["late", "early"], "in the order in which they come"
    assert found["value"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found["n"].tolist() == [2, 3]
    wanted = mean_over_pictures(np.array([1.0, 1.0]), np.array([2.0, 1.0]))
    assert found.loc[0, ["low", "high"]].tolist() == [wanted.low, wanted.high]


def test_rows_without_a_value_are_no_rows() -> None:
    with_a_gap = pd.concat([ROWS, pd.DataFrame({"example": ["d"], "group": ["late"], "right": [None]})])
    pd.testing.assert_frame_equal(means(with_a_gap, "right", "group"), means(ROWS, "right", "group"))
    assert means(ROWS[:0], "right", ["group"]).columns.tolist() == ["group", "value", "low", "high", "n"]


def test_truth_values_that_agree_have_a_width_and_numbers_that_agree_have_none() -> None:
    rows = pd.DataFrame({"example": ["a", "b", "c"], "group": "all", "value": 0.0})
    (truths,), (numbers,) = (
        means(rows, "value", "group", is_binary=is_binary).itertuples(index=False) for is_binary in (True, False)
    )
    assert truths.high > 0.5 and numbers.high == 0.0 and truths.value == numbers.value == 0.0


def test_differences_are_paired() -> None:
    found = differences(ROWS, "right", "group", "before").set_index("group")
    assert found.loc["late", "value"] == pytest.approx(-1 / 3)
    assert found.loc["early", "value"] == pytest.approx(0.0)
    same = differences(ROWS.assign(again=ROWS["right"]), "right", "group", "again")
    assert (same[["value", "low", "high"]] == 0).all(axis=None), "nothing changed, and that is certain"


def test_a_table_has_the_rows_and_columns_in_the_order_they_came() -> None:
    tidy = pd.DataFrame(
        {"source": ["z", "z", "a"], "window": ["late", "early", "late"], "value": [0.5, 0.25, 1.0],
         "low": [0.4, 0.2, np.nan], "high": [0.6, 0.3, np.nan], "n": [3, 3, 1]}
    )  # fmt: skip
    table = laid_out(tidy, "source", "window", digits=2)
    assert table.index.tolist() == ["z", "a"] and table.columns.tolist() == ["late", "early"]
    assert table.loc["z", "late"] == "0.50 [0.40, 0.60]"
    assert table.loc["a", "late"] == "1.00" and table.loc["a", "early"] == "-"
    assert laid_out(tidy, "source", "window", scale=100, digits=0, intervals=False).loc["z", "early"] == "25"

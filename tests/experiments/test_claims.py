"""Claims held to intervals: pairs by picture, and nothing said of a single picture."""

import pandas as pd
import pytest

from vlm_lens.experiments.claims import above, agreed, below, difference_of, mean_of, told
from vlm_lens.metrics.intervals import Estimate

ROWS = pd.DataFrame({"example": ["a", "a", "b", "c"], "f1": [0.2, 0.4, 0.5, 0.9]})
BASE = pd.DataFrame({"example": ["c", "a", "b"], "f1": [0.5, 0.1, 0.4]})


def test_a_mean_counts_rows_and_a_difference_pairs_pictures() -> None:
    assert mean_of(ROWS, "f1").value == pytest.approx(0.5) and mean_of(ROWS, "f1").n == 3
    found = difference_of(ROWS, BASE, "f1")
    assert found.value == pytest.approx((0.2 + 0.1 + 0.4) / 3) and found.n == 3
    assert 0.1 - 1e-9 <= found.low < found.value < found.high <= 0.4 + 1e-9


def test_pictures_without_a_partner_are_left_out() -> None:
    assert difference_of(ROWS, BASE[BASE["example"] != "c"], "f1").value == pytest.approx(0.15)


def test_pairs_may_be_finer_than_pictures() -> None:
    rows, base = ROWS.assign(detail=["x", "y", "x", "x"]), BASE.assign(detail="x")
    assert difference_of(rows, base, "f1", ("example", "detail")).value == pytest.approx((0.1 + 0.1 + 0.4) / 3)


def test_nothing_is_said_of_a_single_picture() -> None:
    one = mean_of(ROWS[ROWS["example"] == "b"], "f1")
    several = mean_of(ROWS, "f1")
    assert (agreed(True, several), agreed(False, several), agreed(True, several, one)) == (True, False, None)
    assert told(one) == "0.50" and told(several).startswith("0.50 [")


def test_a_bound_within_the_interval_is_not_decided() -> None:
    figure = Estimate(0.5, 0.4, 0.6, 9)
    assert [above(figure, bound) for bound in (0.3, 0.4, 0.5, 0.6, 0.7)] == [True, None, None, None, False]
    assert [below(figure, bound) for bound in (0.3, 0.5, 0.7)] == [False, None, True]
    assert above(Estimate(0.5, float("nan"), float("nan"), 1), 0.1) is None

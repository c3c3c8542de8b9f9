"""Claims held to intervals: pairs by picture, and nothing said of a single picture."""

import pandas as pd
import pytest

from vlm_lens.experiments.claims import (
    above,
    above_zero,
    all_hold,
    below,
    below_zero,
    difference_of,
    mean_of,
    told,
    within,
)
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
    assert (above_zero(several), below_zero(several), above_zero(one), below_zero(one)) == (True, False, None, None)
    assert all_hold(above_zero(several), above_zero(one)) is None
    assert told(one) == "0.50" and told(several).startswith("0.50 [")


def test_a_bound_within_the_interval_is_not_decided() -> None:
    figure = Estimate(0.5, 0.4, 0.6, 9)
    assert [above(figure, bound) for bound in (0.3, 0.4, 0.5, 0.6, 0.7)] == [True, None, None, None, False]
    assert [below(figure, bound) for bound in (0.3, 0.5, 0.7)] == [False, None, True]
    assert above(Estimate(0.5, float("nan"), float("nan"), 1), 0.1) is None


def test_a_difference_whose_interval_holds_zero_says_neither_that_a_claim_holds_nor_that_it_does_not() -> None:
    rise, fall, either = Estimate(0.3, 0.1, 0.5, 9), Estimate(-0.3, -0.5, 0.0, 9), Estimate(0.1, -0.2, 0.4, 3)
    assert [above_zero(one) for one in (rise, fall, either)] == [True, False, None]
    assert [below_zero(one) for one in (rise, fall, either)] == [False, None, None]
    assert [within(one, 0.5) for one in (rise, fall, either)] == [True, True, True]
    assert within(either, 0.3) is None and within(rise, 0.05) is False


def test_several_claims_hold_together_only_where_each_of_them_does() -> None:
    assert all_hold(True, True) is True and all_hold(True, None) is None and all_hold(None, False) is False
    assert all_hold() is None

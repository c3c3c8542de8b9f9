"""A paper's claim held to intervals over pictures: means, paired differences, and what can be said at all."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.metrics.intervals import Estimate


def mean_of(rows: pd.DataFrame, value: str) -> Estimate:
    """The mean of a column, with its interval."""
    return _only(means(rows.assign(all=""), value, "all"))


def difference_of(rows: pd.DataFrame, baseline: pd.DataFrame, value: str, on: Sequence[str] = ("example",)) -> Estimate:
    """How much larger a column is than in other rows of the same pictures, paired, with its interval.

    Args:
        rows: under a condition.
        baseline: under another.
        value: the column, of both.
        on: what makes two rows a pair; several of a kind are averaged first.
    """
    keys = list(on)
    mine, other = (one.groupby(keys, sort=False)[value].mean().reset_index() for one in (rows, baseline))
    merged = mine.merge(other.rename(columns={value: "baseline"}), on=keys)
    return _only(differences(merged.assign(all=""), value, "all", "baseline"))


def above(figure: Any, bound: float) -> bool | None:
    """Whether a figure is larger than a bound; None where its interval holds the bound, or where it has none."""
    return None if pd.isna(figure.low) or figure.low <= bound <= figure.high else bool(figure.low > bound)


def below(figure: Any, bound: float) -> bool | None:
    """Whether a figure is smaller than a bound; None where its interval holds the bound, or where it has none."""
    is_above = above(figure, bound)
    return None if is_above is None else not is_above


def within(row: Any, near: float) -> bool | None:
    """True where the whole interval is within, False where it is wholly outside, None else."""
    if row is None or row.low != row.low:
        return None
    if -near <= row.low and row.high <= near:
        return True
    return False if row.low > near or row.high < -near else None


def ends(one: Any) -> tuple[float, float]:
    """Where the interval of a share, or of a difference of shares, ends.

    Where all pictures agree it has no width; it then reaches 3 / n to either side, which 0 of n does not rule out (the
    rule of three).
    """
    reach = 3 / one.n if one.low == one.high else 0.0
    return one.low - reach, one.high + reach


def above_zero(row: Any) -> bool | None:
    """True where the whole interval is above zero, False where no value of it is, None else, or where there is none."""
    if row is None or row.low != row.low:
        return None
    return True if row.low > 0 else False if row.high <= 0 else None


def below_zero(row: Any) -> bool | None:
    """The same of values below zero."""
    if row is None or row.low != row.low:
        return None
    return True if row.high < 0 else False if row.low >= 0 else None


def all_hold(*claims: bool | None) -> bool | None:
    """False where one claim does not hold, None where one cannot be said or there is none, True else."""
    return False if False in claims else None if None in claims or not claims else True


def told(figure: Any) -> str:
    """A figure with its interval: `0.42 [0.31, 0.52]`; without one where there is none."""
    return f"{figure.value:.2f}" + ("" if pd.isna(figure.low) else f" [{figure.low:.2f}, {figure.high:.2f}]")


def _only(figures: pd.DataFrame) -> Estimate:
    (row,) = figures.to_dict("records")
    return Estimate(float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"]))

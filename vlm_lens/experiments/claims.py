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


def agreed(is_so: bool, *figures: Any) -> bool | None:
    """Whether a claim holds; None where a figure that decides it has no interval, as with a single picture."""
    return None if any(pd.isna(one.low) for one in figures) else bool(is_so)


def above(figure: Any, bound: float) -> bool | None:
    """Whether a figure is larger than a bound; None where its interval holds the bound, or where it has none."""
    return None if pd.isna(figure.low) or figure.low <= bound <= figure.high else bool(figure.low > bound)


def below(figure: Any, bound: float) -> bool | None:
    """Whether a figure is smaller than a bound; None where its interval holds the bound, or where it has none."""
    is_above = above(figure, bound)
    return None if is_above is None else not is_above


def told(figure: Any) -> str:
    """A figure with its interval: `0.42 [0.31, 0.52]`; without one where there is none."""
    return f"{figure.value:.2f}" + ("" if pd.isna(figure.low) else f" [{figure.low:.2f}, {figure.high:.2f}]")


def _only(figures: pd.DataFrame) -> Estimate:
    (row,) = figures.to_dict("records")
    return Estimate(float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"]))

"""What is made of an experiment's rows: tables in the paper's layout, figures, findings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from vlm_lens.metrics.intervals import Estimate

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Table:
    """A table, twice: tidy, and as the paper prints it.

    Attributes:
        tidy: one figure a row, with the columns `value`, `low`, `high`, `n` behind those that say what it is.
        layout: the paper's rows and columns, as text with intervals.
        caption: what it shows, with units and N.
    """

    tidy: pd.DataFrame
    layout: pd.DataFrame
    caption: str


@dataclass(frozen=True)
class Finding:
    """A claim of a paper, held against what was measured.

    Attributes:
        claim: what the paper says, with its figure or section.
        agrees: whether the same was found here; None where it cannot be said.
        told: what was found, with figures and N.
    """

    claim: str
    agrees: bool | None
    told: str


@dataclass(frozen=True, eq=False)
class Summary:
    """What an experiment found.

    Attributes:
        tables: by name; the first is the one that the paper is known for.
        figures: by name, each a function that draws; the first is the one that the paper is known for.
        findings: the paper's claims, and whether they hold here.
        notes: what a reader must know: counts of filters, labels in pieces, choices where the paper is silent.
    """

    tables: Mapping[str, Table]
    figures: Mapping[str, Callable[[], "go.Figure"]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def figures_of(estimate: Estimate) -> dict[str, float | int]:
    """An estimate as the columns of a tidy table."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def laid_out(
    tidy: pd.DataFrame,
    index: str | Sequence[str],
    columns: str | Sequence[str],
    *,
    digits: int = 3,
    scale: float | int = 1,
    intervals: bool = True,
) -> pd.DataFrame:
    """A tidy table as a paper prints it: `0.667 [0.500, 0.806]` in each cell, rows and columns in order of appearance.

    Args:
        tidy: with the columns `value`, `low`, `high`.
        index: the column, or columns, that say the row.
        columns: the column, or columns, that say the column.
        digits: behind the point.
        scale: 100 for per cent.
        intervals: whether they are written.
    """
    index = [index] if isinstance(index, str) else list(index)
    columns = [columns] if isinstance(columns, str) else list(columns)
    told = tidy.assign(told=[_told(row, digits, scale, intervals) for row in tidy.itertuples()])
    wide = told.pivot(index=index, columns=columns, values="told")
    rows = list(dict.fromkeys(tidy[index].itertuples(index=False, name=None)))
    heads = list(dict.fromkeys(tidy[columns].itertuples(index=False, name=None)))
    rows = [row[0] for row in rows] if len(index) == 1 else rows
    heads = [head[0] for head in heads] if len(columns) == 1 else heads
    return wide.loc[rows, heads].fillna("-")


def _told(row: object, digits: int, scale: float | int, intervals: bool) -> str:
    value, low, high = (getattr(row, name) * scale for name in ("value", "low", "high"))
    if value != value:
        return "-"
    told = f"{value:.{digits}f}"
    return f"{told} [{low:.{digits}f}, {high:.{digits}f}]" if intervals and low == low else told

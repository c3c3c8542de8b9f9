"""Tidy rows of figures with their intervals, and tables of them in Markdown."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vlm_lens.demo.evaluation.intervals import Z_95, Figure
from vlm_lens.demo.evaluation.intervals import mean as mean_with_interval

DIGITS = 4


def mean_of_shares(values: Sequence[float] | np.ndarray) -> Figure:
    """A mean of what lies between 0 and 1, with the part of its normal interval that does so too."""
    found = mean_with_interval(np.asarray(values, dtype=np.float64))
    return Figure(found.value, max(found.low, 0.0), min(found.high, 1.0), found.n)


def row(figure: Figure, **names: object) -> dict[str, object]:
    """A tidy row: what was measured, then value, low, high (95%) and n."""
    return {**names, "value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}


def rounded(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are kept: to four decimals, the last bits of a machine's arithmetic left out."""
    return rows.assign(**{name: column.round(DIGITS) for name, column in rows.select_dtypes("float").items()})


def cell(one: pd.Series) -> str:
    """`0.035 [0.007, 0.063]`; of what is no share, such as a rank, three digits."""
    value, low, high = (f"{end:.3f}" if one.high <= 1 else f"{end:.3g}" for end in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def figure_at(rows: pd.DataFrame, **names: object) -> str:
    """The one row of these names, as in a table.

    Raises:
        ValueError: none, or several.
    """
    found = rows[np.logical_and.reduce([rows[name] == value for name, value in names.items()])]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows of {names}")
    return cell(found.iloc[0])


def table(rows: pd.DataFrame, lines: str, columns: str, corner: str = "") -> str:
    """A Markdown table: a line for each value of one column, a column for each of another, in their order.

    N stands in the corner where it is one, and else beside the heads, or in the cells.
    """
    n_of = {str(name): sorted(set(of_column["n"])) for name, of_column in rows.groupby(columns, sort=False)}
    is_one = rows["n"].nunique() == 1
    heads = [f"{corner or lines} (N = {rows['n'].iloc[0]})" if is_one else corner or lines]
    heads += [name if is_one or len(n) > 1 else f"{name}, N = {n[0]}" for name, n in n_of.items()]
    text = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, of_line in rows.groupby(lines, sort=False):
        cells = {}
        for _, one in of_line.iterrows():
            n = f", N = {one['n']}" if len(n_of[str(one[columns])]) > 1 else ""
            cells[str(one[columns])] = cell(one) + n
        text.append("| " + " | ".join([str(name), *(cells.get(one, "") for one in n_of)]) + " |")
    return "\n".join(text)


def curves(rows: pd.DataFrame, along: str, line: str) -> dict[str, np.ndarray]:
    """For each line its values with both ends of their intervals, `[along 3]`."""
    order = list(rows[along].unique())
    found = {}
    for name, of_line in rows.groupby(line, sort=False):
        found[str(name)] = of_line.set_index(along).reindex(order)[["value", "low", "high"]].to_numpy(np.float64)
    return found


def median_with_interval(values: Sequence[float]) -> Figure:
    """A median, between two order statistics: free of any assumption about the distribution."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    half = Z_95 * np.sqrt(len(ordered)) / 2
    low = int(max(np.floor(len(ordered) / 2 - half), 0))
    high = int(min(np.ceil(len(ordered) / 2 + half), len(ordered) - 1))
    return Figure(float(np.median(ordered)), float(ordered[low]), float(ordered[high]), len(ordered))

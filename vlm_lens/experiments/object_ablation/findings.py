"""The paper's claims about where a picture holds its object, held against what was measured."""

from typing import Any

import pandas as pd

from vlm_lens.experiments.claims import ends
from vlm_lens.experiments.object_ablation.tasks import TASKS
from vlm_lens.experiments.object_ablation.token_sets import BUFFER_1, GRADIENTS, OBJECT, OF_OBJECT, RANDOM, REGISTER
from vlm_lens.experiments.summary import Finding

LARGE, LITTLE = 0.7, 0.1
"""Decreases: what the abstract says of an object, and a difference that is no "far more"."""


def findings_of(decrease: pd.DataFrame, equal: pd.DataFrame | None, change: pd.DataFrame | None) -> tuple[Finding, ...]:
    """Each claim, decided by intervals over pictures.

    Args:
        decrease: table 1, tidy.
        equal: the decreases at equal counts, tidy; None where they were not measured.
        change: the paired differences at equal counts, tidy.
    """
    found = [_large(decrease)]
    if equal is not None and change is not None:
        found += [_above_random(equal, change), _above_gradients(change)]
    return (*found, _registers(decrease))


def _large(decrease: pd.DataFrame) -> Finding:
    rows = decrease[(decrease["kind"] == BUFFER_1) & (decrease["n"] > 0)]
    is_above = all(row.low > LARGE for row in rows.itertuples())
    is_below = any(row.high < LARGE for row in rows.itertuples())
    return Finding(
        "Identification of an object drops by over 70% when its tokens, with one neighbour all around, are removed "
        "(abstract, table 1: 71.8, 51.3, 86.7).",
        None if rows.empty else True if is_above else False if is_below else None,
        _told(rows, "task"),
    )


def _above_random(equal: pd.DataFrame, change: pd.DataFrame) -> Finding:
    told, clear = [], []
    for (like, task), rows in equal.groupby(["as many as", "task"], sort=False):
        by = rows.set_index("tokens")
        own, other = by.loc["the object's"], by.loc[RANDOM] if RANDOM in by.index else None
        if other is None:
            continue
        if like == OBJECT:
            told.append(f"{task} {_percent(own)} against {_percent(other)}, N = {own.n}")
        clear.append(bool(own.low > other.high))
    n, random = len(clear), change[change["less"] == RANDOM]
    is_small = any(ends(row)[1] < LITTLE for row in random.itertuples())
    return Finding(
        "At equal counts the object's tokens matter far more than random ones (table 1).",
        None if not n else True if sum(clear) == n else False if is_small else None,
        f"Intervals lie apart in {sum(clear)} of {n} comparisons ({', '.join(OF_OBJECT)}; each task). "
        f"Object: {'; '.join(told)}.",
    )


def _above_gradients(change: pd.DataFrame) -> Finding:
    rows = change[change["less"] == GRADIENTS]
    own = rows[rows["as many as"] == OBJECT]
    reached = [ends(row) for row in own.itertuples()]
    above, below = [low > 0 for low, _ in reached], [high < 0 for _, high in reached]
    n_below = int((rows["high"] < 0).sum())
    return Finding(
        "At equal counts the object's tokens matter more than those that gradients rank first, in every task "
        "(table 1).",
        None if own.empty else False if any(below) else True if all(above) else None,
        f"The object's decrease less that of as many by gradients, in points: {_told(own, 'task', sign='+')} With "
        f"buffers both may be close to all: of {len(rows)} comparisons {int((rows['low'] > 0).sum())} are clearly "
        f"above 0 and {n_below} clearly below.",
    )


def _registers(decrease: pd.DataFrame) -> Finding:
    rows = decrease[(decrease["kind"] == REGISTER) & (decrease["n"] > 0)]
    own = decrease[(decrease["kind"] == OBJECT) & (decrease["n"] > 0)].set_index("task")
    apart = [bool(row.high < own.loc[row.task, "low"]) for row in rows.itertuples()]
    above = [bool(row.low > own.loc[row.task, "high"]) for row in rows.itertuples()]
    n_tokens = float(rows["n_tokens"].iloc[0]) if len(rows) else 0.0
    claim = "Register tokens hold little of the object: without them little is lost (table 1: 5.1, 0.0, 3.3)."
    if n_tokens < 1:
        told = f"Hardly a patch stands out by its norm: {n_tokens:.1f} register tokens a picture are there to ablate."
        return Finding(claim, None, told)
    return Finding(
        claim,
        False if any(above) else True if all(apart) else None,
        f"{_told(rows, 'task')} They are {n_tokens:.1f} tokens on average.",
    )


def _told(rows: pd.DataFrame, by: str, sign: str = "") -> str:
    """Each task with its figure: "Generative 71.8 [60.1, 80.0], N = 39"."""
    told = [f"{row[by]} {_percent(row, sign)}, N = {row['n']}" for _, row in rows.iterrows()]
    return "; ".join(told) + "." if told else f"Not measured in any of {', '.join(TASKS)}."


def _percent(row: Any, sign: str = "") -> str:
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if row["low"] == row["low"] else value  # one picture has no interval

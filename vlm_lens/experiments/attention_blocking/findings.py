"""The paper's claims about where and when an object is read, held against what was measured."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vlm_lens.experiments.attention_blocking.edges import OBJECT_1, REST, ROWS_TO_ROW
from vlm_lens.experiments.attention_blocking.windows import NAMES
from vlm_lens.experiments.claims import difference_of
from vlm_lens.experiments.over_pictures import differences
from vlm_lens.experiments.summary import Finding

SMALL = 0.05
"""A change of the probability that is called none."""


def findings_of_windows(cells: pd.DataFrame, change: pd.DataFrame) -> tuple[Finding, ...]:
    """The claims of section 4.2.

    Args:
        cells: the rows that figures are over.
        change: tidy, of the right answer's probability, by source and window.
    """
    found = [_mid_late(cells, change)]
    claims = {
        (OBJECT_1, "all"): "The last position reads the object's rows (table 2: 0.67 of the answers are left).",
        (
            REST,
            "early",
        ): "Blocking the rest of the picture in early layers costs answers (table 2: 0.88 are left).",
    }
    for (source, window), claim in claims.items():
        row = _at(change, source, window)
        found.append(
            Finding(claim, None, "There is no such edge.")
            if row is None
            else Finding(claim, _is_lower(row), f"Change of the probability: {_told(row)}; N = {row.n}.")
        )
    row = _at(change, ROWS_TO_ROW, "all")
    claim = (
        "The last row of patches is no summary of the picture: blocking it from the others changes nothing "
        "(table 2: 1.00)."
    )
    if row is not None:
        is_none = True if row.low > -SMALL and row.high < SMALL else False if row.high < -SMALL else None
        found.append(Finding(claim, is_none, f"Change of the probability: {_told(row)}; N = {row.n}."))
    return tuple(found)


def findings_of_sliding(
    cells: pd.DataFrame, change: pd.DataFrame, windows: Mapping[str, Any], n_layers: int
) -> tuple[Finding, ...]:
    """The claim of appendix D.

    Args:
        cells: the rows that figures are over.
        change: tidy, of the right answer's probability, by source and window.
        windows: the first and last layer of each.
        n_layers: of the model.
    """
    rows = change[change["source"] == OBJECT_1]
    worst = rows.loc[rows["value"].idxmin()]
    first, last = windows[worst["window"]]
    centre, middle = (first + last) / 2, (n_layers - 1) / 2
    told = f"Most is lost in layers {first} to {last} (centre {centre:g}, the middle is {middle:g}): {_told(worst)}; "
    is_late = None
    behind = rows["window"].map(lambda name: sum(windows[name]) / 2 >= middle)
    if worst["high"] < 0 and behind.any() and not behind.all():
        late, early = (one.loc[one["value"].idxmin(), "window"] for one in (rows[behind], rows[~behind]))
        of_source = cells[cells["source"] == OBJECT_1]
        kept = {name: of_source[of_source["window"] == name] for name in (late, early)}
        less = difference_of(kept[late], kept[early], "probability")
        is_late = True if less.high < 0 else False if less.low > 0 else None
        told += f"of the late windows {late} costs most, of the others {early}: {_told(less)} between them; "
    claim = "Blocking the object from the last position hurts most in middle to late layers (appendix D, figure 8)."
    return (Finding(claim, is_late, f"{told}N = {worst['n']}."),)


def _mid_late(cells: pd.DataFrame, change: pd.DataFrame) -> Finding:
    """Whether mid-late layers cost more than each other window: differences are paired, picture by picture."""
    claim = "Blocking the object from the last position hurts most in mid-late layers (section 4.2, table 2)."
    of_source = cells[cells["source"] == OBJECT_1]
    late = of_source[of_source["window"] == "mid-late"].set_index("example")["probability"]
    others = of_source[of_source["window"].isin(set(NAMES) - {"mid-late", "all"})]
    paired = differences(others.assign(late=others["example"].map(late)), "late", "window", "probability")
    told = ", ".join(f"{name} {_told(_at(change, OBJECT_1, name))}" for name in NAMES[:-1])
    against = ", ".join(f"{row.window} {_told(row)}" for row in paired.itertuples())
    is_most = True if (paired["high"] < 0).all() else False if (paired["low"] > 0).any() else None
    return Finding(
        claim, is_most, f"Change of the right answer's probability: {told}. Mid-late less the other windows: "
        f"{against}; N = {of_source['example'].nunique()}.",
    )  # fmt: skip


def _is_lower(row: Any) -> bool | None:
    """Whether the probability fell; False where it fell by less than is called a change."""
    return True if row.high < 0 and row.value < -SMALL else False if row.low > -SMALL else None


def _at(change: pd.DataFrame, source: str, window: str) -> Any:
    found = change[(change["source"] == source) & (change["window"] == window)]
    return None if found.empty else found.iloc[0]


def _told(row: Any) -> str:
    value, low, high = (f"{one:+.3f}" for one in (row.value, row.low, row.high))
    return f"{value} [{low}, {high}]" if row.low == row.low else value  # one picture has no interval

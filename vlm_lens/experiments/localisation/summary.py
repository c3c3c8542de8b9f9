"""Figures 6, 7 and A3 of what was kept of each detail: tables, figures, claims."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.claims import above_zero, all_hold, difference_of, mean_of, told
from vlm_lens.experiments.layer_windows import at_depth, named_layers
from vlm_lens.experiments.localisation.figures import accuracy_figure, map_figure
from vlm_lens.experiments.localisation.looking import KEPT
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.shown_pictures import patch_pictures
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.metrics.localisation import by_windows

KINDS = {"is_right": "words that name it", "others": "all other words", "chance": "chance"}


def summary_of(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """Everything that is made of the details.

    Raises:
        InputError: no detail is left, with what became of them.
    """
    counts = funnel(rows, options)
    if "accuracy" not in rows or rows["accuracy"].empty:
        became = "; ".join(f"{row.step}: {int(row.value)}" for row in counts.itertuples())
        advice = "More pictures, details='all', or another segmenter may help."
        raise InputError("Details to localise", "at least one", f"none ({became})", advice)
    n_layers, cells = facts["n_layers"], rows["accuracy"]
    width = max(1, round(options.width * n_layers / options.depth))
    windows = in_windows(cells, width)
    scores = pd.concat([means(windows, kind, "layers").assign(of=name) for kind, name in KINDS.items()])
    n_details, n_pictures = len(cells.drop_duplicates(["example", "detail"])), cells["example"].nunique()
    over = f"{n_details} details of {n_pictures} pictures, {width} consecutive layers together."
    tables = {
        "accuracy": Table(
            scores.reset_index(drop=True), laid_out(scores, "layers", "of", digits=2),
            f"How often the peak of attention lies within {options.tolerance} token(s) of the object. {over}",
        ),
        "above chance": _above(windows, over),
        "details": Table(
            counts, counts.assign(N=counts["value"].astype(int)).set_index("step")[["N"]],
            "What became of the objects that the descriptions name.",
        ),
    }  # fmt: skip
    middle = at_depth(options.map_layers, options.depth, n_layers)
    figures = {"accuracy": partial(accuracy_figure, scores, KINDS)}
    if "maps" in rows and not rows["maps"].empty:
        figures["maps"] = partial(map_figure, rows["maps"], patch_pictures(rows["pictures"]))
    return Summary(tables, figures, findings(cells, middle, n_layers), notes(options, facts, width, middle, n_details))


def notes(options: Any, facts: Mapping[str, Any], width: int, middle: range, n_details: int) -> tuple[str, ...]:
    """What a reader must know: what a detail is, whose attention and masks, how layers are put together."""
    is_lost = options.details == "lost"
    what = "an object that the description under img -> gen no longer names" if is_lost else "any object named"
    rows = "that hold its words" if options.rows == "having" else "that its words are chosen from"
    return (
        f"A detail is {what}, by the judge {options.judge!r} ({facts['judge']}).",
        f"Attention is that of the rows {rows}, mean over them and over heads. 'All other words' are the rows of the "
        "same description that do not name it.",
        f"Masks: {options.segmenter} ({facts['segmenter']}), left out below {options.least_share:g} or above "
        f"{options.largest_share:g} of the picture or below a score of {options.least_score:g}. All instances of a "
        "kind are one mask.",
        f"Windows of {width} layers do not overlap; layers that fill none at the end are left out. The paper does not "
        f"say how its windows lie. Maps are the mean of layers {named_layers(middle)}.",
        f"Intervals are over pictures, which N counts; there are {n_details} details.",
    )


def funnel(rows: Mapping[str, pd.DataFrame], options: Any) -> pd.DataFrame:
    """How many objects each step leaves: named, lost, kept, and those that are not kept by their reason."""
    described, details = rows["descriptions"], rows.get("details", pd.DataFrame(columns=["status"]))
    steps = [("pictures", len(described)), ("objects named", described["n_named"].sum())]
    if options.details == "lost":
        steps.append(("of these lost under img -> gen", described["n_details"].sum()))
    statuses = details["status"].value_counts()
    steps += [(f"left out: {status}", count) for status, count in statuses.items() if status != KEPT]
    steps.append((KEPT, statuses.get(KEPT, 0)))
    return pd.DataFrame(
        [{"step": step, "value": float(n), "low": np.nan, "high": np.nan, "n": len(described)} for step, n in steps]
    )


def in_windows(cells: pd.DataFrame, width: int) -> pd.DataFrame:
    """A row for each detail and window of layers, with the mean of each column over the window's layers."""
    layers = sorted(cells["layer"].unique())
    names = [named_layers(range(layers[at], layers[at] + width)) for at in range(0, len(layers) - width + 1, width)]
    found = []
    for (example, detail), of_detail in cells.groupby(["example", "detail"], sort=False):
        placed = of_detail.groupby("layer")[list(KINDS)].mean().loc[layers]
        values = by_windows(placed.to_numpy(float).T, width, step=width)
        found += [
            {"example": example, "detail": detail, "layers": name, **dict(zip(KINDS, values[:, place], strict=True))}
            for place, name in enumerate(names)
        ]
    return pd.DataFrame(found)


def findings(cells: pd.DataFrame, middle: range, n_layers: int) -> tuple[Finding, ...]:
    """The paper's claims about figure 7, at the layers of its maps and outside of them."""
    inside = cells[cells["layer"].isin(list(middle))]
    n_details = len(cells.drop_duplicates(["example", "detail"]))
    own = mean_of(inside, "is_right")
    pair = ("example", "detail")
    above = {
        kind: difference_of(inside, inside.assign(is_right=inside[kind]), "is_right", pair)
        for kind in ("chance", "others")
    }
    found = [
        Finding(
            "In the middle layers the words of a detail look at it: the peak of attention is there more often than by "
            "chance (section 4.5, figure 7: in almost 73%).",
            above_zero(above["chance"]),
            f"Layers {named_layers(middle)}: {told(own)}, which is {told(above['chance'])} above chance; {n_details} "
            f"details of {own.n} pictures.",
        ),
        Finding(
            "They look there more than the other words of the same description do (not in the paper).",
            above_zero(above["others"]),
            f"Layers {named_layers(middle)}: {told(above['others'])} above all other words.",
        ),
    ]
    outer = {"before": cells[cells["layer"] < middle.start], "behind": cells[cells["layer"] >= middle.stop]}
    rises = {name: difference_of(inside, rows, "is_right", pair) for name, rows in outer.items() if len(rows)}
    if rises:
        found.append(
            Finding(
                "Localisation is done only in the middle layers (section 4.5, figures 7 and A6).",
                all_hold(*map(above_zero, rises.values())),
                f"Layers {named_layers(middle)} of {n_layers} are "
                + ", ".join(f"{told(one)} above those {name} them" for name, one in rises.items()) + ".",
            )
        )  # fmt: skip
    return tuple(found)


def _above(windows: pd.DataFrame, over: str) -> Table:
    """Paired differences of accuracy from chance and from other words."""
    found = [
        differences(windows, "is_right", "layers", kind).assign(of=f"above {KINDS[kind]}")
        for kind in ("chance", "others")
    ]
    tidy = pd.concat(found, ignore_index=True)
    return Table(
        tidy, laid_out(tidy, "layers", "of", digits=2), f"Accuracy above chance and other words, paired. {over}"
    )

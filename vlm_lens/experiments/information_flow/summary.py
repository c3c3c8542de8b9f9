"""Figures 2 (e, f) and 5 of judged descriptions: tables, figures, claims."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.claims import above, above_zero, all_hold, below, difference_of, mean_of, told
from vlm_lens.experiments.information_flow.knockouts import FROM, KNOCKOUTS, OUTSIDE, TO_BOTH, TO_GENERATED, TO_TEXT
from vlm_lens.experiments.judged import judging_notes
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.plotting.knockout_bars import knockout_bars
from vlm_lens.plotting.knockout_curves import knockout_curves

METRICS = {"f1": "F1", "precision": "precision", "recall": "recall"}
ALL = "all layers"
N_SHOWN = 3
ENOUGH = 0.75  # section 4.4: what the middle layers alone reach at least
CLOSE = 0.1  # a difference of F1 within which two conditions count as equal; the paper draws no intervals


def summary_of(rows: pd.DataFrame, options: Any, facts: Mapping[str, Any]) -> Summary:
    """Everything that is made of the descriptions.

    Raises:
        InputError: no picture.
    """
    clean = rows[rows["knockout"] == "none"]
    if clean.empty:
        raise InputError("Described pictures", "at least one", "none", "Look at the data and its filters.")
    first, last = facts["window"]
    outside = f"outside {first}-{last}"
    bars, curves = bar_rows(rows, outside), curve_rows(rows, clean)
    scores, by_layer = scored(bars, ["knockout", "blocked"]), means(curves, "f1", ["knockout", "first"])
    over = f"Mean over pictures, with 95% intervals; N = {len(clean)}."
    base = clean[["example", "f1"]].rename(columns={"f1": "baseline"})
    drop = differences(bars.merge(base, on="example"), "baseline", ["knockout", "blocked"], "f1")
    tables = {
        "F1": Table(
            scores, laid_out(scores, "knockout", ["blocked", "metric"], digits=2),
            f"A description under each knockout, held against the model's own. {over}",
        ),
        "from layer": Table(
            by_layer, laid_out(by_layer, "first", "knockout", digits=2),
            f"F1 with the knockout from a layer on (row {facts['n_layers']}: nothing is blocked). {over}",
        ),
        "loss of F1": Table(
            drop, laid_out(drop, "knockout", "blocked", digits=2),
            f"What a knockout takes of the F1 that the model's own description has with itself, paired. {over}",
        ),
        "descriptions": texts_of(bars, clean),
    }  # fmt: skip
    notes = (
        f"Layers are counted from 0; the window {first}-{last} is {options.window[0]}-{options.window[1]} of "
        f"{options.window_depth} layers at the depth of this model ({facts['n_layers']}), both ends in.",
        f"img -> gen blocks the rows {options.queries!r}; img -> txt every row of the prompt that is no image token, "
        f"{'the last one too' if options.text_has_last else 'the last one aside'}.",
        f"An F1 counts as 0, and two as equal, where the interval stays below {CLOSE}; the middle layers count as "
        f"enough where the intervals begin above {ENOUGH - CLOSE:.2f}.",
        *judging_notes(rows, clean, options, facts),
    )
    return Summary(
        tables,
        {
            "bars": partial(knockout_bars, scores, ALL, outside),
            "from layer": partial(knockout_curves, by_layer, (first, last)),
        },
        findings(bars, curves, clean, outside, facts["n_layers"]),
        notes,
    )


def bar_rows(rows: pd.DataFrame, outside: str) -> pd.DataFrame:
    """The rows of figure 2 (e), with the column `blocked`: all layers, or all outside of the window."""
    everywhere = rows[(rows["layers"] == FROM) & (rows["first"] == 0)].assign(blocked=ALL)
    return _ordered(pd.concat([everywhere, rows[rows["layers"] == OUTSIDE].assign(blocked=outside)]), "blocked")


def curve_rows(rows: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame:
    """The rows of figure 2 (f); behind the last layer nothing is blocked, whatever the knockout."""
    ends = [clean.assign(knockout=name) for name in KNOCKOUTS]
    return _ordered(pd.concat([rows[rows["layers"] == FROM], *ends]), "first")


def scored(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """F1, precision and recall of each group, one a row."""
    found = [means(rows, column, by).assign(metric=name) for column, name in METRICS.items()]
    tidy = pd.concat(found, ignore_index=True)[[*by, "metric", "value", "low", "high", "n"]]
    return tidy.sort_values(by, key=_place, kind="stable", ignore_index=True)


def texts_of(bars: pd.DataFrame, clean: pd.DataFrame) -> Table:
    """The descriptions of the first pictures, as figure 5 shows them."""
    rows = pd.concat([clean.assign(blocked="nothing"), bars])
    names = rows["knockout"].where(rows["blocked"] == "nothing", rows["knockout"] + ", " + rows["blocked"])
    rows = rows.assign(condition=names.where(rows["blocked"] != "nothing", "the model's own"))
    shown = rows[rows["example"].isin(clean["example"].head(N_SHOWN))]
    tidy = shown[["example", "condition", "text", "lost", "invented"]].assign(
        value=shown["f1"], low=float("nan"), high=float("nan"), n=1
    )
    shown = tidy.assign(told=[f"{one.text} (F1 {one.value:.2f})" for one in tidy.itertuples()])
    layout = shown.pivot(index="condition", columns="example", values="told")
    order = list(dict.fromkeys(tidy["condition"]))
    return Table(tidy.reset_index(drop=True), layout.loc[order], f"Descriptions of the first {N_SHOWN} pictures.")


def findings(
    bars: pd.DataFrame, curves: pd.DataFrame, clean: pd.DataFrame, outside: str, n_layers: int
) -> tuple[Finding, ...]:
    """The paper's claims about figure 2."""

    def rows(knockout: str, blocked: str = ALL) -> pd.DataFrame:
        return bars[(bars["knockout"] == knockout) & (bars["blocked"] == blocked)]

    generated, text, both = (rows(name) for name in (TO_GENERATED, TO_TEXT, TO_BOTH))
    kept, n = difference_of(generated, both, "f1"), clean["example"].nunique()
    without = mean_of(text, "f1")
    found = [
        Finding(
            "Query text holds a global description: without direct access to the picture the generated tokens still "
            "reach F1 = 0.4 (section 4.3, figure 2 e), more than without any access (img -> txt+gen).",
            above_zero(kept),
            f"F1 {told(mean_of(generated, 'f1'))} under img -> gen, {told(mean_of(both, 'f1'))} under img -> txt+gen, "
            f"difference {told(kept)}; N = {n}.",
        ),
        Finding(
            "Without the picture in the query text the model fails: F1 = 0 under img -> txt (section 4.3).",
            below(without, CLOSE),
            f"F1 {told(without)} under img -> txt; img -> gen minus img -> txt: "
            f"{told(difference_of(generated, text, 'f1'))}; N = {n}.",
        ),
    ]
    inside = {name: (mean_of(rows(name, outside), "f1"), difference_of(rows(name, outside), rows(name), "f1"))
              for name in KNOCKOUTS}  # fmt: skip
    is_enough = (above(one, ENOUGH - CLOSE) for one, _ in inside.values())
    found.append(
        Finding(
            "The middle layers alone give nearly the whole description: F1 of 0.75 to 0.81 with everything outside of "
            "them knocked out, also under img -> txt+gen (section 4.4, dashed bars of figure 2 e).",
            all_hold(*is_enough, above_zero(inside[TO_GENERATED][1])),
            f"Blocked {outside}: "
            + ", ".join(f"{name} {told(one)} ({told(more)} above all layers)" for name, (one, more) in inside.items())
            + f"; the model's own text with itself {mean_of(clean, 'f1').value:.2f}; N = {n}.",
        )
    )
    half = -(-n_layers // 2)
    if starts := sorted(one for one in curves["first"].unique() if half <= one < n_layers):
        late = {name: curves[(curves["knockout"] == name) & (curves["first"] == starts[0])] for name in KNOCKOUTS}
        drops = {name: difference_of(clean, of, "f1") for name, of in late.items()}
        found.append(
            Finding(
                "Late layers hardly matter: from half of the depth on a knockout changes next to nothing "
                "(section 4.4, figure 2 f).",
                all_hold(*(below(one, CLOSE) for one in drops.values())),
                f"Loss of F1 when blocked from layer {starts[0]} of {n_layers} on: "
                + ", ".join(f"{name} {told(one)}" for name, one in drops.items()) + f"; N = {n}.",
            )
        )  # fmt: skip
    return tuple(found)


def _place(column: pd.Series) -> pd.Series:
    """Where a name stands: knockouts as the paper lists them, all layers before the window; numbers as they are."""
    order = {name: place for place, name in enumerate((*KNOCKOUTS, ALL))}
    return column if pd.api.types.is_numeric_dtype(column) else column.map(lambda name: order.get(name, len(order)))


def _ordered(rows: pd.DataFrame, then: str) -> pd.DataFrame:
    """By knockout, then by another column; pictures stay in their order."""
    return rows.sort_values(["knockout", then], key=_place, kind="stable")

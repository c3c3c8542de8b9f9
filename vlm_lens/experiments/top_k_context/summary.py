"""Figure 9 of judged descriptions: F1 by the share of image tokens that stay visible."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.claims import above, above_zero, difference_of, mean_of, told
from vlm_lens.experiments.judged import judging_notes
from vlm_lens.experiments.over_pictures import means
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.plotting.scores_by_share import scores_by_share

METRICS = {"f1": "F1", "precision": "precision", "recall": "recall"}
CONTROLS = {"random": "as many drawn at random", "bottom": "as many that are attended to least"}
FEW, ENOUGH = 0.05, 0.8
"""Section 5 and appendix D: 5% of the tokens, and an F1 above 0.8."""


def summary_of(rows: pd.DataFrame, options: Any, facts: Mapping[str, Any]) -> Summary:
    """Everything that is made of the descriptions.

    Raises:
        InputError: no picture.
    """
    clean = rows[rows["order"] == "all"]
    if clean.empty:
        raise InputError("Described pictures", "at least one", "none", "Look at the data and its filters.")
    # All image tokens are the end of every line.
    ends = [clean.assign(order=order) for order in ("top", *options.controls)]
    ranked = pd.concat([rows[rows["order"] != "all"], *ends])
    places = {order: place for place, order in enumerate(("top", *options.controls))}
    ranked = ranked.sort_values(["order", "share"], key=lambda one: one.map(places) if one.name == "order" else one)
    shown = ranked.assign(kept=[_percent(share) for share in ranked["share"]])
    scores = {name: means(shown, column, ["order", "kept", "share"]) for column, name in METRICS.items()}
    n, sizes = len(clean), ranked.groupby("share")["n_kept"].median()
    counts = ", ".join(f"{_percent(float(share))} {int(count)}" for share, count in sizes.items())
    over = f"Image tokens that stay visible in each layer, median over pictures: {counts}. N = {n}."
    tables = {
        name: Table(one, laid_out(one, "order", "kept", digits=2), f"{name} with the model's own description. {over}")
        for name, one in scores.items()
    }
    notes = (
        "The ranking is the attention of the rows that produce the model's own description, mean over rows and heads, "
        "layer by layer. Query text sees the whole picture under every condition.",
        *judging_notes(rows, clean, options, facts),
    )
    figures = {"F1": partial(scores_by_share, scores["F1"], options.controls)}
    return Summary(tables, figures, findings(ranked, options), notes)


def findings(ranked: pd.DataFrame, options: Any) -> tuple[Finding, ...]:
    """The paper's claims about figure 9, at the share nearest to 5%."""
    tried = sorted(one for one in ranked["share"].unique() if 0 < one < 1)
    if not tried:
        return ()
    few = min(tried, key=lambda share: (abs(share - FEW), share))
    top, full, none = (ranked[(ranked["order"] == "top") & (ranked["share"] == share)] for share in (few, 1.0, 0.0))
    score, loss = mean_of(top, "f1"), difference_of(full, top, "f1")
    found = [
        Finding(
            "Few image tokens are enough: with 5% of them F1 is above 0.8 (section 5, figures 9 and A7).",
            above(score, ENOUGH),
            f"F1 {told(score)} with {_percent(few)} ({int(top['n_kept'].median())} tokens), {told(loss)} below the "
            f"model's own; N = {score.n}.",
        )
    ]
    if not none.empty:
        gain = difference_of(top, none, "f1")
        found.append(
            Finding(
                "These few tokens give back what is lost without any (section 5).",
                above_zero(gain),
                f"F1 rises by {told(gain)} from no image token to {_percent(few)}; N = {gain.n}.",
            )
        )
    for control in options.controls:
        other = ranked[(ranked["order"] == control) & (ranked["share"] == few)]
        if other.empty:
            continue
        gain = difference_of(top, other, "f1")
        found.append(
            Finding(
                f"Attention finds the tokens that matter: they do better than {CONTROLS[control]} (not in the paper).",
                above_zero(gain),
                f"F1 is higher by {told(gain)} at {_percent(few)}; N = {gain.n}.",
            )
        )
    return tuple(found)


def _percent(share: float) -> str:
    return f"{100 * share:g}%"

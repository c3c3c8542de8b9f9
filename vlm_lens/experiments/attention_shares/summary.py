"""Figures 1, 4 and 8 of what was kept of each description's attention: tables, figures, claims."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.attention_shares.figures import map_figure, shares_figure, weights_figure
from vlm_lens.experiments.attention_shares.reading import BOS, GENERATED, IMAGE, TEXT, TEXT_BUT_BOS, TOP
from vlm_lens.experiments.claims import above, above_zero, all_hold, difference_of, mean_of, told
from vlm_lens.experiments.layer_windows import at_depth, named_layers
from vlm_lens.experiments.over_pictures import means
from vlm_lens.experiments.shown_pictures import patch_pictures
from vlm_lens.experiments.summary import Finding, Summary, Table, figures_of, laid_out
from vlm_lens.metrics.intervals import mean_over_pictures

FIRST, MIDDLE = (0, 5), (20, 40)
"""Layers of 80, both ends in, that section 4 names: where the picture is prominent, and where it is again."""
DEPTH = 80


def summary_of(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """Everything that is made of the attention.

    Raises:
        InputError: no picture.
    """
    if "shares" not in rows or rows["shares"].empty:
        raise InputError("Described pictures", "at least one", "none", "Look at the data and its filters.")
    shares, n_layers = pooled(rows["shares"]), facts["n_layers"]
    tails = means(rows["tails"].assign(part=f"top {TOP:.0%}"), "top_share", ["layer", "part"])
    n, n_queries = rows["shares"]["example"].nunique(), int(rows["descriptions"]["n_tokens"].sum())
    columns = [name for name in (IMAGE, TEXT, GENERATED) if name in set(shares["group"])]
    columns += [name for name in dict.fromkeys(shares["group"]) if name not in columns]
    ordered = pd.concat([shares[shares["group"] == name] for name in columns], ignore_index=True)
    n_top, n_image = (int(rows["tails"][name].median()) for name in ("n_top", "n_image"))
    tables = {
        "shares": Table(
            ordered, laid_out(ordered, "layer", "group", digits=2),
            "Share of the attention of the rows that produce a description, mean over heads, pooled over tokens and "
            f"pictures; N = {n} pictures, {n_queries} tokens.",
        ),
        "tail": Table(
            tails, laid_out(tails, "layer", "part", digits=2),
            f"Part of the attention to the picture that its {TOP:.0%} most attended tokens get ({n_top} of {n_image}; "
            f"evenly spread it would be {n_top / n_image:.2f}); N = {n} pictures.",
        ),
    }  # fmt: skip
    figures = {
        "shares": partial(shares_figure, shares, options.text_has_bos, n_queries),
        "shares of text": partial(shares_figure, shares, None, n_queries),
        "histogram": partial(weights_figure, rows["histogram"], n_layers),
    }
    if "maps" in rows:
        figures["maps"] = partial(map_figure, rows["maps"], patch_pictures(rows["pictures"]))
    n_cut = int(rows["descriptions"]["is_cut"].sum())
    zeros = int(rows["histogram"].loc[rows["histogram"]["bin"] == -1, "count"].sum())
    notes = [
        "Each token counts once, that which a row produces: the last row of the prompt and every generated row but the "
        "last. The band is the standard deviation over tokens.",
        f"Figure 8 counts {'each image token by its mean' if options.histogram_of == 'means' else 'each row'} "
        f"over heads; {zeros} weights are exactly 0 and stand outside of it.",
    ]
    if n_cut:
        notes.append(f"{n_cut} of {n} descriptions were cut at {options.max_new_tokens} tokens.")
    return Summary(tables, figures, findings(rows["shares"], rows["tails"], n_layers), tuple(notes))


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """For each layer and group the mean over all tokens, its interval over pictures, and the deviation over tokens.

    Columns: layer, group, value, low, high, n (pictures), std, n_queries.
    """
    found = []
    for key, group in rows.groupby(["layer", "group"], sort=False):
        counts = group["n_queries"].to_numpy(float)
        estimate = mean_over_pictures(group["mean"].to_numpy() * counts, counts)
        square = float((group["square"] * counts).sum() / counts.sum())
        deviation = float(np.sqrt(max(square - estimate.value**2, 0.0)))
        place = dict(zip(("layer", "group"), key, strict=True))
        found.append({**place, **figures_of(estimate), "std": deviation, "n_queries": int(counts.sum())})
    return pd.DataFrame(found).sort_values("layer", kind="stable", ignore_index=True)


def findings(shares: pd.DataFrame, tails: pd.DataFrame, n_layers: int) -> tuple[Finding, ...]:
    """The paper's claims about figures 1, 4 and 8, each held to intervals over pictures."""
    first, middle = at_depth(FIRST, DEPTH, n_layers), at_depth(MIDDLE, DEPTH, n_layers)
    between, late = range(first.stop, middle.start), range(middle.stop, n_layers)
    later = range(first.stop, n_layers)

    def of(group: str, layers: range) -> pd.DataFrame:
        return shares[(shares["group"] == group) & shares["layer"].isin(list(layers))]

    text, bare = mean_of(of(TEXT, later), "mean"), mean_of(of(TEXT_BUT_BOS, later), "mean")
    drop = difference_of(of(IMAGE, first), of(IMAGE, later), "mean")
    around = {name: layers for name, layers in (("before", between), ("behind", late)) if len(layers)}
    rises = {name: difference_of(of(IMAGE, middle), of(IMAGE, layers), "mean") for name, layers in around.items()}
    in_bos = "" if of(BOS, later).empty else f", which alone gets {told(mean_of(of(BOS, later), 'mean'))}"
    return (
        Finding(
            "Query text gets most of the attention of generated tokens, over 60%, behind the first layers (section 4, "
            "figure 1); begin-of-sequence is counted as query text.",
            above(text, 0.6),
            f"Layers {named_layers(later)}: {told(text)} on query text, {told(bare)} without begin-of-sequence{in_bos}"
            f"; N = {text.n}.",
        ),
        Finding(
            "Attention to the picture is prominent in the first layers and drops behind them (section 4, figure 1).",
            above_zero(drop),
            f"Layers {named_layers(first)}: {told(mean_of(of(IMAGE, first), 'mean'))}; minus all behind them "
            f"{told(drop)}; N = {drop.n}.",
        ),
        Finding(
            "Attention to the picture rises again, moderately, in the middle layers (section 4, figure 1).",
            all_hold(*map(above_zero, rises.values())),
            f"Layers {named_layers(middle)}: {told(mean_of(of(IMAGE, middle), 'mean'))}; minus the layers "
            + ", ".join(f"{name} ({named_layers(around[name])}) {told(one)}" for name, one in rises.items()) + ".",
        ),
        *_tail_findings(tails, first, middle, late),
    )  # fmt: skip


def _tail_findings(tails: pd.DataFrame, first: range, middle: range, late: range) -> tuple[Finding, ...]:
    """The claims about figures 4 and 8: how much of the attention the most attended image tokens get."""
    per = means(tails, "top_share", "layer")
    flattest, even = per.loc[per["value"].idxmin()], float((tails["n_top"] / tails["n_image"]).mean())
    at_ends, inside = (tails[tails["layer"].isin(list(layers))] for layers in ([*first, *late], middle))
    outer = difference_of(at_ends, inside, "top_share")
    return (
        Finding(
            "In every layer few image tokens get much of the attention: a long tail (section 5, figure 8).",
            all_hold(*(above(one, 2 * even) for one in per.itertuples())),
            f"The top {TOP:.0%} get {flattest.value:.2f} in the layer where they get least ({int(flattest.layer)}); "
            f"evenly it would be {even:.2f}, and twice that is held to be a tail.",
        ),
        Finding(
            "Early and late layers look at few places, the middle layers are more spread out (section 4.4, figure 4).",
            above_zero(outer),
            f"What the top {TOP:.0%} get in layers {named_layers(first)} and {named_layers(late)}, minus that in "
            f"layers {named_layers(middle)}: {told(outer)}.",
        ),
    )

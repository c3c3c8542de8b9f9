"""Figures 1, 4 and 8 of what was kept of each description's attention: tables, figures, claims."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.attention_shares.figures import map_figure, shares_figure, weights_figure
from vlm_lens.experiments.attention_shares.reading import BOS, GENERATED, IMAGE, TEXT, TEXT_BUT_BOS, TOP
from vlm_lens.experiments.layer_windows import at_depth, named_layers
from vlm_lens.experiments.over_pictures import differences, means
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
    later = [*between, *middle, *late]

    def of(group: str, layers: Sequence[int]) -> pd.DataFrame:
        return _mean_of(shares[(shares["group"] == group)], "mean", layers)

    text, bare, bos = (_mean(of(name, later)) for name in (TEXT, TEXT_BUT_BOS, BOS))
    image = {name: of(IMAGE, layers) for name, layers in
             (("first", first), ("between", between), ("middle", middle), ("late", late)) if len(layers)}  # fmt: skip
    drop = _difference(image["first"], of(IMAGE, later))
    found = [
        Finding(
            "Query text gets most of the attention of generated tokens, over 60%, behind the first layers (section 4, "
            "figure 1); begin-of-sequence is counted as query text.",
            bool(text.low > 0.6),
            f"Layers {later[0]} to {later[-1]}: {_told(text)} on query text, {_told(bare)} without begin-of-sequence"
            + ("" if bos is None else f", which alone gets {_told(bos)}") + f"; N = {text.n}.",
        ),
        Finding(
            "Attention to the picture is prominent in the first layers and drops behind them (section 4, figure 1).",
            bool(drop.low > 0),
            f"Layers {named_layers(first)}: {_told(_mean(image['first']))}; all behind them {_told(drop)} less; "
            f"N = {drop.n}.",
        ),
    ]  # fmt: skip
    if "late" in image:
        around = {name: one for name, one in image.items() if name in ("between", "late")}
        rises = {name: _difference(image["middle"], one) for name, one in around.items()}
        found.append(
            Finding(
                "Attention to the picture rises again, moderately, in the middle layers (section 4, figure 1).",
                all(bool(one.low > 0) for one in rises.values()),
                f"Layers {named_layers(middle)}: {_told(_mean(image['middle']))}; that is "
                + ", ".join(f"{_told(one)} above the layers {'before' if name == 'between' else 'behind'}"
                            for name, one in rises.items()) + ".",
            )
        )  # fmt: skip
    per = means(tails, "top_share", "layer")
    flattest = per.loc[per["value"].idxmin()]
    even = float((tails["n_top"] / tails["n_image"]).mean())
    outer = _difference(_mean_of(tails, "top_share", [*first, *late]), _mean_of(tails, "top_share", middle))
    found += [
        Finding(
            "In every layer few image tokens get much of the attention: a long tail (section 5, figure 8).",
            bool((per["low"] > 2 * even).all()),
            f"The top {TOP:.0%} get {flattest.value:.2f} in the layer where they get least ({int(flattest.layer)}); "
            f"evenly it would be {even:.2f}, and twice that is held to be a tail.",
        ),
        Finding(
            "Early and late layers look at few places, the middle layers are more spread out (section 4.4, figure 4).",
            bool(outer.low > 0),
            f"The top {TOP:.0%} get {_told(outer)} more in layers {named_layers(first)} and {named_layers(late)} than "
            f"in {named_layers(middle)}.",
        ),
    ]
    return tuple(found)


def _mean_of(rows: pd.DataFrame, value: str, layers: Sequence[int]) -> pd.DataFrame:
    """One row a picture: the mean over some layers."""
    chosen = rows[rows["layer"].isin(list(layers))]
    return chosen.groupby("example", sort=False)[value].mean().rename("value").reset_index().assign(all="")


def _mean(rows: pd.DataFrame) -> Any:
    return None if rows.empty else means(rows, "value", "all").iloc[0]


def _difference(rows: pd.DataFrame, baseline: pd.DataFrame) -> Any:
    merged = rows.merge(baseline[["example", "value"]].rename(columns={"value": "baseline"}), on="example")
    return differences(merged, "value", "all", "baseline").iloc[0]


def _told(row: Any) -> str:
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"

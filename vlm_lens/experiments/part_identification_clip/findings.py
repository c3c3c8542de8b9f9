"""The paper's claims about CLIP, held against what was measured."""

from typing import Any

import pandas as pd

from vlm_lens.experiments.claims import above, above_zero, all_hold, below_zero
from vlm_lens.experiments.object_parts.told import plain, signed
from vlm_lens.experiments.part_identification.frames import ALL, REGION, averages, paired, size_bins
from vlm_lens.experiments.part_identification_clip.beside import Beside
from vlm_lens.experiments.summary import Finding

FAR = 0.05
"""A difference of scores that is called far better; ours, since the paper gives no figure."""


def findings(frame: pd.DataFrame, first: int, depth: int, beside: Beside | None, options: Any) -> tuple[Finding, ...]:
    """The claims of section 4.5 and appendix D.

    Args:
        frame: rows by class.
        first: the layer from which the class token is held to the part.
        depth: of the tower.
        beside: a language model's run.
        options: of the experiment.
    """
    rows = frame[frame["class"] == ALL]
    held = rows[rows["from_layer"] == first]
    whole = rows[rows["from_layer"] == depth][[*REGION, "score", "object_score"]]
    both = held.merge(whole, on=REGION, suffixes=("", "_whole"), validate="one_to_one")
    part = _difference(both, "score", "score_whole", options)
    whole_object = _difference(both, "object_score", "object_score_whole", options)
    elsewhere = _difference(held, "score", "null", options)
    found = [
        Finding(
            "Held to the part, CLIP identifies it far better than of the whole picture (section 4.5, figure 6).",
            above(part, FAR),
            f"Held minus whole: {signed(part)}, where more than {FAR} is far; held minus a shape like it elsewhere: "
            f"{signed(elsewhere)}.",
        ),
        Finding(
            "Held to the part, CLIP identifies the object less well (section 4.5, figure 6).",
            below_zero(whole_object),
            f"Held minus whole: {signed(whole_object)}.",
        ),
        _best_layer(rows, depth, options),
        _sizes(held, options),
    ]
    return (*found, _beside(held, beside, options)) if beside is not None else tuple(found)


def _best_layer(rows: pd.DataFrame, depth: int, options: Any) -> Finding:
    means = averages(rows, "score", ["from_layer"], options).sort_values("from_layer")
    best = means.iloc[int(means["value"].to_numpy().argmax())]
    told = ", ".join(f"{one.from_layer}: {one.value:.3f}" for one in means.itertuples())
    is_last = (means["from_layer"] >= 0.75 * depth) & (means["from_layer"] < depth)
    if not is_last.any():
        ahead = None
    else:
        last, other = (int(one.loc[one["value"].idxmax(), "from_layer"]) for one in (means[is_last], means[~is_last]))
        scores = [rows.loc[rows["from_layer"] == layer, [*REGION, "score"]] for layer in (last, other)]
        both = scores[0].merge(scores[1], on=REGION, suffixes=("", "_other"), validate="one_to_one")
        ahead = _difference(both, "score", "score_other", options)
    return Finding(
        "The last layers alone are best: 22 of 24 (section 4.5, figure 9).",
        above_zero(ahead),
        f"By first layer ({depth}: none): {told}. The best, {best['from_layer']:.0f}, is {plain(best)}; the best from "
        f"three quarters of the depth on, which counts as last, minus the best of the others: {signed(ahead)}.",
    )


def _sizes(held: pd.DataFrame, options: Any) -> Finding:
    number, names = size_bins(held["share"], options.bins)
    means = averages(held.assign(number=number), "score", ["number"], options).sort_values("number")
    small, large = means.iloc[0], means.iloc[-1]
    told = ", ".join(f"{names[int(one.number)]}: {plain(one)}" for one in means.itertuples())
    return Finding(
        "CLIP identifies larger parts better (appendix D, figure 8).",
        True if large.low > small.high else False if large.high < small.low else None,
        f"By share of the picture: {told}; decided where smallest and largest have intervals apart.",
    )


def _beside(held: pd.DataFrame, beside: Beside, options: Any) -> Finding:
    other = beside.regions.rename(columns={"score": "language", "null": "language_null"})
    both = held.merge(other[[*REGION, "language", "language_null"]], on=REGION, validate="one_to_one")
    both = both.assign(above=both["score"] - both["null"], language_above=both["language"] - both["language_null"])
    raw = _difference(both, "language", "score", options)
    above = _difference(both, "language_above", "above", options)
    return Finding(
        "A language model reads parts from CLIP's patches better than CLIP itself does (section 4.5, figure 6).",
        all_hold(above_zero(raw), above_zero(above)),
        f"{beside.model} minus CLIP held to the part: {signed(raw)}, over {len(both)} regions that both read; of what "
        f"each scores above elsewhere in the picture: {signed(above)}. Their vocabularies differ, and the language "
        "model takes the best of all patches, so both differences must be above zero.",
    )


def _difference(rows: pd.DataFrame, value: str, baseline: str, options: Any) -> Any:
    found = paired(rows.assign(of="all"), value, baseline, ["of"], options)
    return None if found.empty else found.iloc[0]

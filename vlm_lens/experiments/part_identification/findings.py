"""The paper's claims about parts, held against what was measured."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from vlm_lens.experiments.claims import above_zero, all_hold, below_zero, within
from vlm_lens.experiments.object_parts.knockouts import DECODER, ENCODER, FULL, NONE
from vlm_lens.experiments.object_parts.told import plain, signed
from vlm_lens.experiments.part_identification.frames import ALL, averages, beside, paired, size_bins
from vlm_lens.experiments.summary import Finding
from vlm_lens.metrics.intervals import Estimate

NEAR = 0.05
"""Two scores are near each other within this: half of what the rows of table 3 differ by at most, people aside."""
HIGH = 0.8


def findings(here: pd.DataFrame, options: Any, facts: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The claims of sections 4.2 to 4.4 and appendix D.

    Args:
        here: the rows of one state, by class.
        options: `PartIdentificationOptions`.
        facts: of the model.
    """
    rows = here[here["class"] == ALL].dropna(subset=["score"])
    found = [_above_chance(rows, options), _as_objects(rows, options)]
    if {DECODER, ENCODER, FULL} <= set(rows["setting"]):
        found.append(_full(rows, options))
        made_up_for = [*_nearer_to_the_top(rows, options), *_last_layers(rows, options, facts)]
        clean = _difference(rows[rows["setting"] == NONE], "score", "null", options)
        found += made_up_for if above_zero(clean) is True else [_idle(one) for one in made_up_for]
    return (*found, _sizes(rows, options))


def _idle(finding: Finding) -> Finding:
    """The same, undecided: where parts were not identified to begin with, nothing can be made up for."""
    because = " Without a knockout parts score no higher than elsewhere in the picture, so this cannot be decided."
    return replace(finding, agrees=None, told=finding.told + because)


def _above_chance(rows: pd.DataFrame, options: Any) -> Finding:
    clean = rows[rows["setting"] == NONE]
    score, above = _mean(clean, options), _difference(clean, "score", "null", options)
    is_high = None if pd.isna(score.low) else True if score.low >= HIGH else False if score.high < HIGH else None
    return Finding(
        "Parts are identified well above chance, at 0.8 or more on average (section 4.2, figure 2).",
        all_hold(above_zero(above), is_high),
        f"Parts score {plain(score)}, N = {score.n}; {signed(above)} above as many patches elsewhere in the picture.",
    )


def _as_objects(rows: pd.DataFrame, options: Any) -> Finding:
    clean = rows[rows["setting"] == NONE]
    apart = _difference(clean, "score", "object_score", options)
    return Finding(
        "The identifiability of parts matches that of their object at the same patches (section 4.2, table 3).",
        within(apart, NEAR),
        f"Part minus object: {signed(apart)}; within {NEAR} of each other counts as a match.",
    )


def _full(rows: pd.DataFrame, options: Any) -> Finding:
    drop = _between(rows, FULL, NONE, options)
    return Finding(
        "Without any context, in encoder and decoder, identifiability drops (section 4.3, figure 4).",
        below_zero(drop),
        f"Full AK minus no AK: {signed(drop)}, N = {drop.n}.",
    )


def _nearer_to_the_top(rows: pd.DataFrame, options: Any) -> list[Finding]:
    """Whether a setting lies nearer to no knockout than to the full one, paired region by region."""
    claims = {
        DECODER: "Blocking the decoder alone costs little, beside both (section 4.3, figure 4).",
        ENCODER: "The decoder makes up for a blocked encoder: the score lies nearer to no knockout than to the "
        "full one (section 4.3, figure 4).",
    }
    found = []
    for setting, claim in claims.items():
        both = (
            beside(rows, setting, NONE)
            .drop(columns="baseline")
            .merge(
                beside(rows, FULL, NONE).rename(columns={"score": "floor"})[
                    ["example", "category", "part", "floor", "baseline"]
                ],
                on=["example", "category", "part"],
            )
        )
        middle = _difference(both.assign(middle=(both["floor"] + both["baseline"]) / 2), "score", "middle", options)
        drop, full = _between(rows, setting, NONE, options), _between(rows, FULL, NONE, options)
        told = f"{setting} minus no AK: {signed(drop)}; full AK minus no AK: {signed(full)}"
        told += f"; {setting} minus the middle of both: {signed(middle)}, N = {drop.n}."
        agrees = None if full.high >= 0 else above_zero(middle)
        found.append(Finding(claim, agrees, told))
    return found


def _last_layers(rows: pd.DataFrame, options: Any, facts: Mapping[str, Any]) -> list[Finding]:
    last = [one for one in facts["last"] if one in set(rows["setting"])]
    if not last:
        return []
    drops = {one: _between(rows, one, NONE, options) for one in last}
    first, (end, depth) = drops[last[0]], (last[-1], _between(rows, last[-1], ENCODER, options))
    told = ", ".join(f"{name} {signed(one)}" for name, one in drops.items())
    whole = _between(rows, ENCODER, NONE, options)
    return [
        Finding(
            "A knockout in the last quarter of the encoder alone is made up for in full by a strong decoder; a gap "
            "stays in weaker ones (section 4.4, figure 5).",
            within(first, NEAR / 2),
            f"Minus no AK: {told}, N = {first.n}; within {NEAR / 2} counts as made up for.",
        ),
        Finding(
            "What the first quarter of the encoder adds cannot be made up for: blocking the rest is as bad as blocking "
            "all of it (section 4.4, figure 5).",
            within(depth, NEAR / 2) if below_zero(whole) else None,
            f"{end} minus the whole encoder: {signed(depth)}; within {NEAR / 2} counts as the same. The whole encoder "
            f"minus no AK: {signed(whole)}; where that is no drop, nothing is to be made up for.",
        ),
    ]


def _sizes(rows: pd.DataFrame, options: Any) -> Finding:
    clean = rows[rows["setting"] == NONE]
    number, names = size_bins(clean["share"], options.bins)
    by_size = averages(clean.assign(size=number), "score", ["size"], options).sort_values("size")
    above = paired(clean.assign(size=number), "score", "null", ["size"], options).sort_values("size")
    small, large = by_size.iloc[0], by_size.iloc[-1]
    sized = ", ".join(
        f"{names[int(one.size_)]}: {plain(one)}" for one in by_size.rename(columns={"size": "size_"}).itertuples()
    )
    beyond = ", ".join(signed(one) for one in above.itertuples())
    n = int(min(small["n"], large["n"]))
    apart = Estimate(large.value - small.value, large.low - small.high, large.high - small.low, n)
    return Finding(
        "The size of a part makes little difference to a language model (appendix D, figure 8).",
        within(apart, NEAR) if len(by_size) > 1 else None,
        f"By share of the picture: {sized}. Above elsewhere in the picture: {beyond}. The best of many patches is "
        "higher by chance alone. Smallest and largest agree where their intervals together lie within "
        f"{NEAR}, and differ where these lie further apart.",
    )


def _mean(rows: pd.DataFrame, options: Any) -> Any:
    return averages(rows, "score", ["class"], options).iloc[0]


def _difference(rows: pd.DataFrame, value: str, baseline: str, options: Any) -> Any:
    """None where no row has both."""
    found = paired(rows, value, baseline, ["class"], options)
    return None if found.empty else found.iloc[0]


def _between(rows: pd.DataFrame, setting: str, baseline: str, options: Any) -> Any:
    return paired(beside(rows, setting, baseline), "score", "baseline", ["class"], options).iloc[0]

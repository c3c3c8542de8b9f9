"""Figures 6 and 7 and what is said of them, worked out of the rows."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.correspondence.options import CorrespondenceOptions
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.plotting.correspondence_by_layer import best_states, correspondence_by_layer

OWN, OTHERS = "the object's patches", "other patches"
SHARE, LAYER = "patches that name the object in the best state (%)", "best state"


def summarised(rows: Mapping[str, pd.DataFrame], options: CorrespondenceOptions, facts: Mapping[str, Any]) -> Summary:
    """The best layer and its share, the share by layer, both figures, and the paper's claims.

    Raises:
        InputError: the crop cut every object away.
    """
    objects, n_states = rows["objects"], int(facts["n_states"])
    seen = objects[objects["n_patches"] > 0]
    if seen.empty:
        got = f"none of {len(objects)}"
        raise InputError("Objects inside of what the model sees", "at least one", got, "The crop cut them away.")
    is_counted = pd.Series(True, seen.index) if options.counts_unnamed else seen["best_share"] > 0
    best = seen[is_counted].assign(state=lambda of: of["best_state"].astype(int))
    by_state = _by_state(rows["states"])
    table = _best(seen, best)
    n, n_objects = seen["example"].nunique(), len(seen)
    told = f"N = {n} pictures, {n_objects} objects"
    tables = {
        "best state": Table(
            table, laid_out(table, "figure", "patches", digits=2),
            f"The state in which the largest share of an object's patches name it, and that share; as many other "
            f"patches beside it. {told}; a best state have {len(best)} of these objects.",
        ),
        "share by state": Table(
            by_state, laid_out(by_state, "state", "patches", digits=2, scale=100),
            f"Patches whose likeliest token names the object, in %, by state (0 enters the decoder). {told}.",
        ),
    }  # fmt: skip
    change = differences(seen.assign(one=""), "best_share", "one", "best_share_elsewhere")
    return Summary(
        tables,
        {
            "share by state": partial(correspondence_by_layer, by_state),
            "best state": partial(best_states, best, n_states),
        },
        (_named(table, change), _late(table, n_states, len(best))),
        _notes(objects, seen, best, options, facts),
    )


def _by_state(states: pd.DataFrame) -> pd.DataFrame:
    long = pd.concat(
        [states.assign(patches=name, value=states[column]) for name, column in ((OWN, "share"), (OTHERS, "elsewhere"))]
    )
    return means(long, "value", ["patches", "state"], is_binary=False)


def _best(seen: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """The average best share of the object and of as many other patches, and the average best state."""
    figures = []
    for patches, column in ((OWN, "best_share"), (OTHERS, "best_share_elsewhere")):
        per_cent = seen.assign(figure=SHARE, patches=patches, value=100 * seen[column].astype(float))
        figures.append(means(per_cent, "value", ["figure", "patches"], is_binary=False))
    of_state = best.assign(figure=LAYER, patches=OWN)
    figures.append(means(of_state, "state", ["figure", "patches"], is_binary=False))
    return pd.concat(figures, ignore_index=True)


def _named(table: pd.DataFrame, change: pd.DataFrame) -> Finding:
    own = table[(table["figure"] == SHARE) & (table["patches"] == OWN)].iloc[0]
    claim = (
        "Patches of an object are read as its name: 23.7% of them in a picture's best layer (section 4.1, figure 6)."
    )
    told = f"{_told(own, '.2f')} per cent, N = {own.n} pictures. "
    if change.empty:
        return Finding(claim, None, f"{told}There are no other patches to compare them with.")
    row = change.iloc[0]
    points = _told(row, "+.2f", 100.0)
    is_above = True if row.low > 0 else False if row.high <= 0 else None
    return Finding(claim, is_above, f"{told}Less as many other patches in their best layer: {points} points.")


def _late(table: pd.DataFrame, n_states: int, n_best: int) -> Finding:
    claim = "The best layer lies in the middle to late layers: 25.7 of 33 on average (section 4.1, figure 6)."
    rows = table[table["figure"] == LAYER]
    if rows.empty:
        return Finding(claim, None, "No patch names its object in any state.")
    row, middle = rows.iloc[0], (n_states - 1) / 2
    is_late = True if row.low > middle else False if row.high < middle else None
    return Finding(
        claim, is_late,
        f"State {_told(row, '.1f')} of {n_states}, counted from 0; the middle is "
        f"{middle:g}; N = {row.n} pictures, {n_best} objects that a patch names in some state.",
    )  # fmt: skip


def _told(row: Any, digits: str, scale: float = 1.0) -> str:
    """A figure with its interval, where there is one."""
    value, low, high = (f"{scale * one:{digits}}" for one in (row.value, row.low, row.high))
    return f"{value} [{low}, {high}]" if row.low == row.low else value


def _notes(
    objects: pd.DataFrame,
    seen: pd.DataFrame,
    best: pd.DataFrame,
    options: CorrespondenceOptions,
    facts: Mapping[str, Any],
) -> tuple[str, ...]:
    steps = "; ".join(f"{name}: {before} -> {after}" for name, before, after in facts["steps"])
    n_unnamed = int((seen["best_share"] == 0).sum())
    unnamed = "count as best at state 0" if options.counts_unnamed else "have no best state"
    names = "any form of the name that is one token" if options.match == "aliases" else "the name's first piece"
    twice = ", the last state normed twice" if options.norms_last_twice else ""
    return (
        f"Filters of the data: {steps}.",
        f"Objects: {len(objects)}; inside of what the model sees: {len(seen)}; named by a patch in some state: "
        f"{len(seen) - n_unnamed}. The others' share is 0, and they {unnamed}.",
        f"A patch names the object where its likeliest token is {names}{twice}.",
        f"Of states that tie, the first is the best. As many other patches are drawn {options.n_draws} times.",
        *(f"{word!r} is read by its first piece: {pieces}." for word, pieces in facts["split"].items()),
    )

"""Figures 6 and 7 out of rows whose figures are known by hand."""

from typing import Any

import pandas as pd
import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments.correspondence import Correspondence
from vlm_lens.experiments.correspondence.tables import LAYER, OTHERS, OWN, SHARE
from vlm_lens.experiments.summary import Summary

FACTS = {"n_states": 5, "split": {"zebra": ["▁z", "ebra"]}, "steps": [["one instance of its category", 9, 4]]}


def rows(*shares: tuple[float, ...], elsewhere: float = 0.0) -> dict[str, pd.DataFrame]:
    """Objects, each in a picture of its own, with their share in every state."""
    objects = [
        {"example": str(place), "target": f"{place}/0", "object": "cat", "n_patches": 10, "best_share": max(one),
         "best_state": one.index(max(one)), "best_share_elsewhere": elsewhere}
        for place, one in enumerate(shares)
    ]  # fmt: skip
    states = [
        {"example": str(place), "target": f"{place}/0", "state": state, "share": share, "elsewhere": elsewhere}
        for place, one in enumerate(shares)
        for state, share in enumerate(one)
    ]
    return {"objects": pd.DataFrame(objects), "states": pd.DataFrame(states)}


def summed(found: dict[str, pd.DataFrame], **options: Any) -> Summary:
    return Correspondence().summarised(found, Correspondence.Options().but(**options), FACTS)


def figure(found: Summary, name: str, patches: str = OWN) -> Any:
    tidy = found.tables["best state"].tidy
    (row,) = tidy[(tidy["figure"] == name) & (tidy["patches"] == patches)].itertuples()
    return row


def test_the_best_share_and_the_best_state_are_averaged_over_objects() -> None:
    found = summed(rows((0.0, 0.1, 0.3, 0.2, 0.0), (0.0, 0.0, 0.0, 0.0, 0.5), elsewhere=0.05))
    assert figure(found, SHARE).value == pytest.approx(40.0)
    assert figure(found, SHARE, OTHERS).value == pytest.approx(5.0)
    assert figure(found, LAYER).value == pytest.approx(3.0)
    by_state = found.tables["share by state"].tidy
    own = by_state[by_state["patches"] == OWN]["value"]
    assert own.tolist() == pytest.approx([0.0, 0.05, 0.15, 0.1, 0.25])
    assert list(found.tables["share by state"].layout.columns) == [OWN, OTHERS]


def test_an_object_that_nothing_names_has_no_best_state_but_a_share() -> None:
    found = rows((0.0, 0.0, 0.0, 0.4, 0.0), (0.0,) * 5)
    assert figure(summed(found), LAYER).value == 3.0 and figure(summed(found), LAYER).n == 1
    assert figure(summed(found), SHARE).value == pytest.approx(20.0)
    assert figure(summed(found, counts_unnamed=True), LAYER).value == pytest.approx(1.5)
    assert "named by a patch in some state: 1" in " ".join(summed(found).notes)


def test_claims_are_decided_by_intervals() -> None:
    late = [(0.0, 0.0, 0.1 + 0.01 * one, 0.3 + 0.01 * one, 0.2) for one in range(8)]
    shown = summed(rows(*late, elsewhere=0.02))
    assert [one.agrees for one in shown.findings] == [True, True]
    early = [tuple(reversed(one)) for one in late]
    refuted = summed(rows(*early, elsewhere=0.6))
    assert [one.agrees for one in refuted.findings] == [False, False]
    open_ones = summed(rows((0.3, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.3), elsewhere=0.0))
    assert open_ones.findings[1].agrees is None
    nothing = summed(rows((0.0,) * 5, (0.0,) * 5))
    assert [one.agrees for one in nothing.findings] == [False, None]


def test_labels_that_are_split_are_said_with_their_pieces() -> None:
    told = " ".join(summed(rows((0.0, 0.0, 0.0, 0.4, 0.0))).notes)
    assert "'zebra' is read by its first piece: ['▁z', 'ebra']" in told and "9 -> 4" in told


def test_both_figures_are_drawn() -> None:
    found = summed(rows((0.0, 0.0, 0.0, 0.4, 0.0), (0.0, 0.0, 0.2, 0.1, 0.0)))
    curve, histogram = (draw() for draw in found.figures.values())
    assert {trace.name for trace in curve.data if trace.showlegend is not False} == {OWN, OTHERS}
    assert list(histogram.data[0].y) == [0, 0, 1, 1, 0]


def test_objects_that_were_all_cut_away_are_refused() -> None:
    found = rows((0.0,) * 5)
    found["objects"]["n_patches"] = 0
    with pytest.raises(InputError, match="none of 1"):
        summed(found)


def test_one_picture_has_figures_without_intervals() -> None:
    found = summed(rows((0.0, 0.0, 0.0, 0.4, 0.0)))
    assert [one.agrees for one in found.findings] == [None, None]
    assert not any("nan" in one.told for one in found.findings)

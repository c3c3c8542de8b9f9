"""Table 1 out of rows whose figures are known by hand."""

from typing import Any

import pandas as pd
import pytest

from tests.experiments.object_ablation.ablated_scenes import context_of
from vlm_lens.errors import InputError
from vlm_lens.experiments.object_ablation import ObjectAblation
from vlm_lens.experiments.object_ablation.token_sets import OF_OBJECT, object_sets, random_sets, wanted_counts
from vlm_lens.experiments.summary import Summary
from vlm_lens.layout import ImageSpan, PatchGrid, Region

OPTIONS = ObjectAblation.Options()
FACTS = {
    "n_layers": 32, "n_patches": 576, "mean": "50000 pictures of pictures val", "split": {"zebra": [" z", "ebra"]},
    "steps": [["at most 3 annotations", 900, 20]],
}  # fmt: skip
TASKS = ("Generative", "Polling", "VQA")


def rows(lost: dict[str, set[int]], n: int = 4, clean_wrong: tuple[int, ...] = ()) -> dict[str, pd.DataFrame]:
    """Pictures of which an ablation loses some, by its kind; the object has 10 + picture tokens."""
    cells = []
    for picture in range(n):
        own = {kind: (10 + picture) * place for place, kind in enumerate(OF_OBJECT, start=1)}
        sets: list[tuple[str, int | None, str, int]] = [(kind, None, "", count) for kind, count in own.items()]
        sets.append(("Register tokens", None, "", 3))
        for kind in ("Int. Gradients", "Random"):
            sets += [(kind, count, "", count) for count in OPTIONS.counts]
            sets += [(kind, None, like, count) for like, count in own.items()]
        for task in TASKS:
            cells += [
                {"example": str(picture), "task": task, "kind": kind, "count": count, "like": like,
                 "n_tokens": n_tokens, "is_right": picture not in lost.get(kind, ()),
                 "clean_is_right": picture not in clean_wrong, "text": "", "clean_text": ""}
                for kind, count, like, n_tokens in sets
            ]  # fmt: skip
    pictures = [
        {"example": str(one), "n_patches": 12, "is_named": one != 9, "is_named_without": False} for one in range(n)
    ]
    return {"pictures": pd.DataFrame(pictures), "cells": pd.DataFrame(cells)}


def summed(found: dict[str, pd.DataFrame], **options: Any) -> Summary:
    return ObjectAblation().summarised(found, OPTIONS.but(**options), FACTS)


def test_the_layout_is_table_1s_eighteen_rows_and_three_columns() -> None:
    layout = summed(rows({"Object": {0, 1}})).tables["decrease"].layout
    counts = (5, 10, 20, 40, 60, 100, 250)
    assert list(layout.index) == [
        "Object (11.5)", "+ 1 Buffer (23.0)", "+ 2 Buffer (34.5)", "Register tokens (3.0)",
        *(f"Int. Gradients ({count})" for count in counts), *(f"Random ({count})" for count in counts),
    ]  # fmt: skip
    assert list(layout.columns) == list(TASKS)


def test_a_decrease_is_the_share_that_is_lost_of_what_was_right_before() -> None:
    # Picture 3 was wrong before, so of three pictures one is lost without the object, and none at random.
    found = summed(rows({"Object": {0, 3}}, clean_wrong=(3,)))
    tidy = found.tables["decrease"].tidy.set_index(["kind", "task"])
    row = tidy.loc[("Object", "Polling")]
    assert row["value"].item() == pytest.approx(1 / 3) and row["n"].item() == 3
    assert row["low"].item() <= 1 / 3 <= row["high"].item()
    assert tidy.loc[("Random", "VQA")]["value"].tolist() == [0.0] * 7
    assert row["n_tokens"].item() == pytest.approx(11.0)  # 10, 11 and 12
    assert "Generative 3 of 4" in " ".join(found.notes)


def test_the_difference_at_equal_counts_is_paired() -> None:
    found = summed(rows({"Object": {0, 1, 2}, "Int. Gradients": {0}}))
    tidy = found.tables["difference at equal counts"].tidy
    of = tidy[(tidy["as many as"] == "Object") & (tidy["task"] == "VQA")].set_index("less")["value"]
    assert of["Int. Gradients"] == pytest.approx(0.5) and of["Random"] == pytest.approx(0.75)
    equal = found.tables["equal counts"].tidy
    assert set(equal["tokens"]) == {"the object's", "Int. Gradients", "Random"}


def test_equal_counts_are_compared_over_the_same_pictures() -> None:
    found = rows({"Object": {0, 1}})
    cells = found["cells"]
    is_missing = (cells["kind"] == "Random") & (cells["like"] == "Object") & cells["example"].isin(["2", "3"])
    found["cells"] = cells[~is_missing]  # too few patches beside the object
    tables = summed(found).tables
    equal = tables["equal counts"].tidy
    of = equal[(equal["as many as"] == "Object") & (equal["task"] == "VQA")].set_index("tokens")
    assert of["n"].to_dict() == {"the object's": 2, "Int. Gradients": 2, "Random": 2}
    assert of.loc["the object's", "value"] == 1
    change = tables["difference at equal counts"].tidy
    of = change[(change["as many as"] == "Object") & (change["task"] == "VQA")].set_index("less")
    assert of["n"].to_dict() == {"Int. Gradients": 4, "Random": 2}


def test_claims_are_decided_by_intervals() -> None:
    n = 40
    everything = set(range(n))
    shown = summed(rows(dict.fromkeys(OF_OBJECT, everything), n=n))
    assert [one.agrees for one in shown.findings] == [True, True, True, True]
    refuted = summed(rows({"Random": everything, "Int. Gradients": everything, "Register tokens": everything}, n=n))
    assert [one.agrees for one in refuted.findings] == [False, False, False, False]
    none_to_ablate = rows(dict.fromkeys(OF_OBJECT, everything), n=n)
    cells = none_to_ablate["cells"]
    cells.loc[cells["kind"] == "Register tokens", "n_tokens"] = 0
    assert [one.agrees for one in summed(none_to_ablate).findings] == [True, True, True, None]
    few = summed(rows(dict.fromkeys(OF_OBJECT, {0, 1, 2}), n=4))
    assert few.findings[0].agrees is None  # 75% of four pictures may be more than 70% or less
    assert "N = 4" in few.findings[0].told
    alone = summed(rows(dict.fromkeys(OF_OBJECT, everything), n=n), adds_equal_counts=False)
    assert list(alone.tables) == ["decrease"] and len(alone.findings) == 2


def test_a_few_pictures_that_all_agree_decide_nothing() -> None:
    with_object = summed(rows(dict.fromkeys(OF_OBJECT, {0, 1}), n=2))
    assert [one.agrees for one in with_object.findings] == [None] * 4
    with_anything = summed(rows(dict.fromkeys((*OF_OBJECT, "Random", "Int. Gradients"), {0, 1}), n=2))
    assert [one.agrees for one in with_anything.findings] == [None] * 4


def test_counts_and_tasks_that_were_not_measured_keep_their_places() -> None:
    found = rows({"Object": {0}})
    cells = found["cells"]
    kept = cells[(cells["count"] != 250) & (cells["task"] != "VQA")]
    summary = ObjectAblation().summarised(
        {**found, "cells": kept}, OPTIONS, {**FACTS, "n_patches": 144}
    )  # fmt: skip
    layout = summary.tables["decrease"].layout
    assert layout.shape == (18, 3)
    assert set(layout.loc["Random (250)"]) == {"-"} and set(layout["VQA"]) == {"-"}
    told = " ".join(summary.notes)
    assert "left out: [250]" in told and "no VQA" in told and "'zebra' is read by its first piece" in told


def test_nothing_that_was_right_before_is_refused_with_what_the_filters_took() -> None:
    with pytest.raises(InputError, match="Pictures: 4; with the object inside of what the model sees: 4"):
        summed(rows({}, clean_wrong=(0, 1, 2, 3)))
    nothing = {"pictures": rows({})["pictures"]}
    with pytest.raises(InputError, match="at least one"):
        summed(nothing)


def test_both_figures_are_drawn_of_every_task() -> None:
    found = summed(rows({"Object": {0}}))
    bars, curves = (draw() for draw in found.figures.values())
    assert [trace.name for trace in bars.data] == list(TASKS)
    assert {trace.name for trace in curves.data} == {
        "Object, + 1, + 2", "Register tokens", "Int. Gradients", "Random",
    }  # fmt: skip


def test_large_counts_are_left_out_or_the_same_share_of_the_patches() -> None:
    found = object_sets(Region(ImageSpan(5, PatchGrid(12, 12, 8, 8)), 0, frozenset({0, 1})))
    assert [one.n_tokens for one in found] == [2, 6, 12]
    assert list(wanted_counts((5, 250), 144, "left out", found[:1])) == [(5, "", 5), (None, "Object", 2)]
    assert list(wanted_counts((5, 250), 144, "scaled")) == [(5, "", 1), (250, "", 62)]
    assert list(wanted_counts((5, 250), 576, "scaled")) == list(wanted_counts((5, 250), 576, "left out"))
    with pytest.raises(InputError, match="'scaled'"):
        list(wanted_counts((5,), 144, "cut"))
    with pytest.raises(InputError, match="numbers of 1 or more"):
        list(wanted_counts((0,), 144, "scaled"))


def test_random_tokens_are_drawn_from_the_pool_and_left_out_where_it_is_too_small() -> None:
    pool = frozenset({3, 5, 8, 13})
    once, again = (
        random_sets(context_of(), "some example", pool, wanted_counts((3, 4, 5), 144, "left out")) for _ in range(2)
    )
    assert [one.n_tokens for one in once] == [3, 4] and all(one.patches <= pool for one in once)
    assert once == again


def test_one_picture_has_figures_without_intervals() -> None:
    found = summed(rows({"Object": {0}}, n=1))
    assert {one.agrees for one in found.findings} == {None}
    assert not any("nan" in one.told for one in found.findings)

"""Table 2 and figure 8 out of rows whose figures are known by hand."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments.attention_blocking import AttentionBlocking
from vlm_lens.experiments.attention_blocking.edges import OBJECT_1, REST, ROWS_TO_ROW, SOURCES
from vlm_lens.experiments.attention_blocking.windows import paper_windows, sliding_windows
from vlm_lens.experiments.summary import Summary

N = 8
WINDOWS = paper_windows(32)
SLIDING = sliding_windows(32, 10)
Lost = Mapping[tuple[str, str], float]


def summed(lost: Lost, layers: Mapping[str, range] = WINDOWS, wrong: tuple[int, ...] = (), **options: Any) -> Summary:
    """Pictures whose right answer's probability falls from 0.9 by what a window of a source costs, a little noise."""
    cells = [
        {"example": str(picture), "window": window, "source": source, "clean_probability": 0.9,
         "probability": 0.9 - lost.get((source, window), 0.0) + 0.001 * picture, "clean_is_right": picture not in wrong,
         "is_right": 0.9 - lost.get((source, window), 0.0) > 0.5 and picture not in wrong}
        for picture in range(N)
        for source in SOURCES
        for window in layers
    ]  # fmt: skip
    pictures = pd.DataFrame({"example": [str(one) for one in range(N)], "is_seen": True})
    facts = {
        "n_layers": 32, "windows": {name: [one[0], one[-1]] for name, one in layers.items()},
        "split": {"zebra": [" z", "ebra"]}, "steps": [["a question", 12, N]],
    }  # fmt: skip
    chosen = AttentionBlocking.Options().but(**options)
    return AttentionBlocking().summarised({"pictures": pictures, "cells": pd.DataFrame(cells)}, chosen, facts)


def test_the_layout_is_table_2s_six_rows_and_six_columns() -> None:
    found = summed({(OBJECT_1, "all"): 0.6})
    layout = found.tables["accuracy"].layout
    assert list(layout.index) == list(SOURCES) and list(layout.columns) == list(WINDOWS)
    assert layout.loc[OBJECT_1, "all"].startswith("0.00") and layout.loc[OBJECT_1, "early"].startswith("1.00")
    assert f"N = {N} of {N}" in found.tables["accuracy"].caption


def test_figures_are_over_the_pictures_that_were_right_or_over_all() -> None:
    among = summed({}, wrong=(0, 1))
    everything = summed({}, wrong=(0, 1), among_right=False)
    assert set(among.tables["accuracy"].tidy["n"]) == {N - 2}
    assert among.tables["accuracy"].tidy["value"].tolist() == [1.0] * 36
    assert everything.tables["accuracy"].tidy["value"].tolist() == [(N - 2) / N] * 36
    assert "answered right when nothing is blocked: 6" in " ".join(among.notes)


def test_the_change_is_paired_with_the_same_picture_without_blocking() -> None:
    found = summed({(OBJECT_1, "late"): 0.25})
    tidy = found.tables["change of probability"].tidy
    (row,) = tidy[(tidy["source"] == OBJECT_1) & (tidy["window"] == "late")].itertuples()
    assert row.value == pytest.approx(-0.25 + 0.001 * sum(range(N)) / N)


def test_claims_are_decided_by_intervals() -> None:
    as_published = {(OBJECT_1, "mid-late"): 0.2, (OBJECT_1, "mid"): 0.1, (OBJECT_1, "all"): 0.4, (REST, "early"): 0.1}
    assert [one.agrees for one in summed(as_published).findings] == [True, True, True, True]
    against = {(OBJECT_1, "early"): 0.3, (ROWS_TO_ROW, "all"): 0.4}
    assert [one.agrees for one in summed(against).findings] == [False, False, False, False]
    undecided = summed({(OBJECT_1, "mid-late"): 0.2, (OBJECT_1, "late"): 0.2, (OBJECT_1, "all"): 0.4})
    assert undecided.findings[0].agrees is None and undecided.findings[1].agrees is True


@pytest.mark.parametrize(("window", "agrees"), [("16-25", True), ("2-11", False)])
def test_figure_8_has_its_windows_on_an_axis_of_numbers(window: str, agrees: bool) -> None:
    found = summed({(OBJECT_1, window): 0.3}, SLIDING, windows="sliding")
    assert [one.agrees for one in found.findings] == [agrees]
    figure = found.figures["probability"]()
    lines = [trace for trace in figure.data if trace.showlegend is not False]
    assert len(lines) == len(SOURCES)
    assert all(list(trace.x) == list(range(23)) for trace in lines)


def test_an_early_window_that_costs_nearly_as_much_leaves_figure_8_undecided() -> None:
    close = summed({(OBJECT_1, "16-25"): 0.3, (OBJECT_1, "2-11"): 0.3}, SLIDING, windows="sliding")
    assert [one.agrees for one in close.findings] == [None]
    assert "16-25 costs most, of the others 2-11: +0.000" in close.findings[0].told


def test_labels_that_are_split_and_the_filters_counts_are_said() -> None:
    told = " ".join(summed({}).notes)
    assert "'zebra' is read by its first piece: [' z', 'ebra']" in told and "a question: 12 -> 8" in told


def test_nothing_that_was_right_is_refused_with_the_counts() -> None:
    with pytest.raises(InputError, match="Pictures: 8; .* answered right when nothing is blocked: 0"):
        summed({}, wrong=tuple(range(N)))

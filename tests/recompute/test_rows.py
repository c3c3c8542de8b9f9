"""The rows to compute, against a run of symbols: every value is the set of what it was made from."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_lens.recompute.rows import Marked, Marks, TowerRows, rows_of

N_LAYERS, N_POSITIONS = 4, 6
SIDES = ("entering", "keyed", "asking")
Edges = list[set[tuple[int, int]]]


@dataclass
class Symbols:
    """A tower where nothing is computed but what each value depends on.

    Every row of every layer has three values: its stream as it enters, its key (and value), and its stream afterwards,
    which depends on the stream and on the keys that it attends to. A written value depends on its writer.
    """

    written: Marks
    edges: Edges

    def made_from(self) -> dict[tuple[int, str, int], set[tuple[int, str, int]]]:
        """For each value those that it is made from directly; (-1, "start", row) is the stream before the first."""
        made = {}
        for layer in range(N_LAYERS):
            for row in range(N_POSITIONS):
                before = (layer - 1, "asking", row) if layer else (-1, "start", row)
                made[layer, "entering", row] = {before}
                made[layer, "keyed", row] = {(layer, "entering", row)}
            for row in range(N_POSITIONS):
                attended = {(layer, "keyed", key) for query, key in self.edges[layer] if query == row}
                made[layer, "asking", row] = {(layer, "keyed", row), *attended}
        return made

    def is_written(self, value: tuple[int, str, int]) -> bool:
        layer, side, row = value
        if side == "start":
            return bool(self.written.start[row])
        marked = getattr(self.written, side).get(layer)
        return marked is not None and bool(marked[row])

    def differing(self) -> set[tuple[int, str, int]]:
        """Written, or made from what differs."""
        found = {(-1, "start", row) for row in range(N_POSITIONS) if self.written.start[row]}
        for value, sources in self.made_from().items():
            if self.is_written(value) or found & sources:
                found.add(value)
        return found

    def needed(self, read: Marks, wanted: Marked) -> set[tuple[int, str, int]]:
        """Read or wanted, or what a needed value is made from; a value that does not differ is there already."""
        differing, made = self.differing(), self.made_from()
        found = {(N_LAYERS - 1, "asking", row) for row in np.flatnonzero(wanted)}
        found |= {(-1, "start", row) for row in np.flatnonzero(read.start)}
        for side in SIDES:
            found |= {(layer, side, row) for layer, rows in getattr(read, side).items() for row in np.flatnonzero(rows)}
        found &= differing
        todo = list(found)
        while todo:
            for source in made.get(todo.pop(), ()):
                if source in differing and source not in found:
                    found.add(source)
                    todo.append(source)
        return found


def marked(rows: set[int]) -> Marked:
    return np.isin(np.arange(N_POSITIONS), list(rows))


ROWS = st.sets(st.integers(0, N_POSITIONS - 1), max_size=2).map(marked)
BY_LAYER = st.dictionaries(st.integers(0, N_LAYERS - 1), ROWS, max_size=2)
MARKS = st.builds(Marks, ROWS, BY_LAYER, BY_LAYER, BY_LAYER)
BLOCKED = st.sets(st.tuples(st.integers(0, N_POSITIONS - 1), st.integers(0, N_POSITIONS - 1)), max_size=12)


def edges_of(is_causal: bool, blocked: list[set[tuple[int, int]]]) -> Edges:
    pairs = {(query, key) for query in range(N_POSITIONS) for key in range(N_POSITIONS)}
    return [{(q, k) for q, k in pairs if (k <= q or not is_causal) and (q, k) not in gone} for gone in blocked]


def found_by(is_causal: bool, written: Marks, read: Marks, wanted: Marked, edges: Edges, alike: bool) -> TowerRows:
    def attended_to(layer: int, rows: Marked) -> Marked:
        return marked({key for query, key in edges[layer] if rows[query]})

    kinds = [tuple(sorted(one)) for one in edges]
    options = (lambda layer: kinds[layer],) if alike else ()
    return rows_of(N_LAYERS, is_causal, written, read, wanted, attended_to, *options)


@settings(max_examples=60)
@given(st.booleans(), MARKS, MARKS, ROWS, st.lists(BLOCKED, min_size=N_LAYERS, max_size=N_LAYERS), st.booleans())
def test_every_value_that_differs_and_is_needed_is_computed(
    is_causal: bool, written: Marks, read: Marks, wanted: Marked, blocked: list[set[tuple[int, int]]], alike: bool
) -> None:
    edges = edges_of(is_causal, blocked)
    rows = found_by(is_causal, written, read, wanted, edges, alike)
    for layer, side, row in Symbols(written, edges).needed(read, wanted):
        if side == "start":
            assert row in rows.started
        elif side == "asking":
            assert row in rows.asking[layer]
        else:
            assert rows.entered[layer] is not None and row in rows.entered[layer]


@settings(max_examples=60)
@given(st.booleans(), MARKS, MARKS, ROWS, st.booleans())
def test_no_row_is_computed_that_nobody_needs(
    is_causal: bool, written: Marks, read: Marks, wanted: Marked, alike: bool
) -> None:
    edges = edges_of(is_causal, [set()] * N_LAYERS)
    symbols = Symbols(written, edges)
    rows, needed = found_by(is_causal, written, read, wanted, edges, alike), symbols.needed(read, wanted)
    assert {(-1, "start", row) for row in rows.started} <= needed
    for layer in range(N_LAYERS):
        assert {(layer, "asking", int(row)) for row in rows.asking[layer]} <= needed
        for row in () if rows.entered[layer] is None else rows.entered[layer]:
            assert needed & {(layer, side, int(row)) for side in SIDES}


@settings(max_examples=40)
@given(st.booleans(), MARKS, MARKS, ROWS)
def test_what_is_changed_holds_all_that_could_differ_in_the_end(
    is_causal: bool, written: Marks, read: Marks, wanted: Marked
) -> None:
    edges = edges_of(is_causal, [set()] * N_LAYERS)
    differing = Symbols(written, edges).differing()
    rows = found_by(is_causal, written, read, wanted, edges, True)
    assert {int(row) for row in np.flatnonzero(rows.is_changed)} == {
        row for layer, side, row in differing if (layer, side) == (N_LAYERS - 1, "asking")
    }


def test_nothing_is_computed_where_nothing_is_written_or_nothing_wanted() -> None:
    nobody, somebody = marked(set()), marked({2})
    edges = edges_of(True, [set()] * N_LAYERS)
    for written, wanted in ((Marks(nobody), somebody), (Marks(somebody), nobody)):
        rows = found_by(True, written, Marks(nobody), wanted, edges, True)
        assert rows.first_layer is None and not len(rows.started) and not len(rows.ending)


@pytest.mark.parametrize("last", [2, N_POSITIONS - 1])
def test_layers_that_are_alike_share_one_list_of_rows(last: int) -> None:
    edges = edges_of(True, [set()] * N_LAYERS)
    rows = found_by(True, Marks(marked({1})), Marks(marked(set())), marked({last}), edges, True)
    assert rows.entered[0] is rows.entered[1] is rows.entered[2] is rows.asking[0]
    assert rows.entered[0].tolist() == list(range(1, last + 1))

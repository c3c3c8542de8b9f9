"""Which rows of a variant must be computed in each layer of a tower, and no others."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

Marked = Bool[np.ndarray, " pos"]
"""True at some positions of the tower's sequence."""

_NONE = np.zeros(0, dtype=np.int64)

AttendedTo = Callable[[int, Marked], Marked]
"""The positions that some rows attend to in a layer: `attended_to(layer, rows)`."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What stands at a tower's hooks, layer by layer: the rows that are written there, or read.

    Attributes:
        start: of the stream before the first layer.
        entering, keyed, asking: by layer; see `stations.Side`.
    """

    start: Marked
    entering: dict[int, Marked] = field(default_factory=dict)
    keyed: dict[int, Marked] = field(default_factory=dict)
    asking: dict[int, Marked] = field(default_factory=dict)

    @property
    def is_any(self) -> bool:
        """Whether any row is marked."""
        return bool(self.start.any()) or any(map(bool, (self.entering, self.keyed, self.asking)))

    def add(self, by_layer: dict[int, Marked], layer: int, rows: Marked) -> None:
        """Mark rows of a layer, besides those marked."""
        by_layer[layer] = by_layer[layer] | rows if layer in by_layer else rows

    def is_any_in(self, layer: int) -> bool:
        """Whether any row of a layer is marked."""
        return any(layer in by_layer for by_layer in (self.entering, self.keyed, self.asking))


@dataclass(frozen=True, eq=False)
class TowerRows:
    """The rows of one variant, layer by layer. What is not listed is as in the run that nothing was done to.

    Attributes:
        started: the rows of the stream before the first layer that differ and are needed.
        entered: the rows whose stream enters each layer: their keys and values are made anew there. None where a
            layer computes nothing.
        asking: those of them that go on from each layer.
        is_changed: True at the rows that differ after the last layer, whether they are needed or not.
    """

    started: Int[np.ndarray, " _"]
    entered: tuple[Int[np.ndarray, " _"] | None, ...]
    asking: tuple[Int[np.ndarray, " _"], ...]
    is_changed: Marked

    @classmethod
    def nothing(cls, n_layers: int, n_positions: int) -> "TowerRows":
        """A variant that computes nothing in a tower."""
        return cls(_NONE, (None,) * n_layers, (_NONE,) * n_layers, np.zeros(n_positions, dtype=bool))

    @property
    def first_layer(self) -> int | None:
        """The first layer that computes anything."""
        return next((layer for layer, rows in enumerate(self.entered) if rows is not None), None)

    @property
    def ending(self) -> Int[np.ndarray, " _"]:
        """The rows computed by the last layer."""
        return self.asking[-1] if self.asking else self.started


def rows_of(
    n_layers: int,
    is_causal: bool,
    written: Marks,
    read: Marks,
    wanted: Marked,
    attended_to: AttendedTo,
    kind_of: Callable[[int], Hashable] = lambda layer: layer,
    keeps_keys: bool = False,
) -> TowerRows:
    """The rows to compute, from what is written and what is read.

    Forwards: a row differs once it is written, or attends to one that differs. Backwards: a row is needed if it is
    read, or attended to by a row that is computed. Computed is what differs and is needed.

    Args:
        n_layers: how many layers are run.
        is_causal: whether a row attends to earlier ones alone.
        written: where writers act; its `start` are the rows that differ from the beginning.
        read: what readers ask for; its `start` are the rows read before the first layer.
        wanted: the rows wanted after the last layer.
        attended_to: of rows that are computed; may name too many positions, never too few.
        kind_of: equal for layers in which the same rows attend to the same positions.
        keeps_keys: whether rows to come will attend to all of these, in every layer.
    """
    differing = differing_rows(n_layers, is_causal, written)
    entered: list[Int[np.ndarray, " _"] | None] = [None] * n_layers
    asking: list[Int[np.ndarray, " _"]] = [_NONE] * n_layers
    needed, last, before = wanted, None, None
    for layer in reversed(range(n_layers)):
        entering, keyed, left = differing[layer]
        given = None if read.is_any_in(layer) else _Given(differing[layer], needed, kind_of(layer))
        if given is not None and before is not None and given.is_same(before):
            entered[layer], asking[layer] = entered[layer + 1], asking[layer + 1]
            continue
        before = given
        asks = left & _with(needed, read.asking.get(layer))
        enters = asks
        if layer in read.keyed:
            enters = enters | (keyed & read.keyed[layer])
        if layer in read.entering:
            enters = enters | (entering & read.entering[layer])
        if keeps_keys:
            enters = enters | keyed
        if asks.any():
            enters = enters | (keyed & attended_to(layer, asks))
        last = last if last is not None and _is_same(last, enters) else np.flatnonzero(enters)
        entered[layer] = last if len(last) else None
        asking[layer] = last if _is_same(last, asks) else np.flatnonzero(asks)
        needed = needed if np.array_equal(needed, enters) else enters
    started = np.flatnonzero(written.start & (needed | read.start))
    is_changed = differing[-1].left if n_layers else written.start
    return TowerRows(started, tuple(entered), tuple(asking), is_changed)


class Differing(NamedTuple):
    """The rows that differ in one layer: as they enter, as they give keys and values, and afterwards."""

    entering: Marked
    keyed: Marked
    left: Marked


def differing_rows(n_layers: int, is_causal: bool, written: Marks) -> list[Differing]:
    """The rows that differ in each layer; one object for layers that are alike."""
    differing: list[Differing] = []
    left, closed = written.start, None
    for layer in range(n_layers):
        entering = _with(left, written.entering.get(layer))
        keyed = _with(entering, written.keyed.get(layer))
        if keyed is not closed:  # else it holds all rows that attend to it already
            closed = keyed | _reached(keyed, is_causal) if keyed.any() else keyed
        left = _with(closed, written.asking.get(layer))
        found = Differing(entering, keyed, left)
        is_same = bool(differing) and all(one is other for one, other in zip(found, differing[-1], strict=True))
        differing.append(differing[-1] if is_same else found)
    return differing


class _Given(NamedTuple):
    """All that decides which rows of a layer are computed."""

    differing: Differing
    needed: Marked
    kind: Hashable

    def is_same(self, other: "_Given") -> bool:
        return self.differing is other.differing and self.needed is other.needed and self.kind == other.kind


def _with(rows: Marked, others: Marked | None) -> Marked:
    """Both together; the rows themselves if the others add none."""
    return rows if others is None or not (others & ~rows).any() else rows | others


def _reached(given: Marked, is_causal: bool) -> Marked:
    """The rows that could attend to some of these."""
    if not is_causal:
        return np.ones_like(given)
    return np.arange(len(given)) >= int(given.argmax())


def _is_same(rows: Int[np.ndarray, " _"], marked: Marked) -> bool:
    """Whether a list of rows is what is marked; equal lists are kept as one object, so that work on them is shared."""
    return len(rows) == int(np.count_nonzero(marked)) and bool(marked[rows].all())

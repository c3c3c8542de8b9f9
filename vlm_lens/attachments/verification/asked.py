"""The masks that were asked for, worked out from sets of positions: apart from the code that blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.hook_names import heads_of, layers_of
from vlm_lens.attachments.naming.towers import Tower
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.layout import Region, Selector, TokenLayout

Edges = Bool[np.ndarray, "batch heads query_pos key_pos"]
Rectangle = tuple[Sequence[int], Sequence[int]]
"""Some queries and some keys: every edge between them."""


@dataclass(frozen=True, eq=False)
class AskedMasks:
    """Who should see whom in a tower, by causality, window, padding and what its blockers say.

    Attributes:
        tower: the tower.
        blockers: those on it, in order.
        attention_mask: what a tower was given beside its tokens; None where its inputs tell.
    """

    tower: Tower
    blockers: tuple[EdgeBlocker, ...]
    attention_mask: Tensor | None = None
    _taken_at_its_word: set[int] = field(default_factory=set)

    def blockers_in(self, layer: int) -> list[EdgeBlocker]:
        """Those that stand in a layer."""
        return [one for one in self.blockers if layer in self.layers_of(one)]

    def layers_of(self, one: EdgeBlocker) -> tuple[int, ...]:
        """The layers where a blocker stands."""
        return layers_of(one.layers, self.tower.transformer.cfg.n_layers, on_empty=one.on_empty)

    @property
    def layers(self) -> list[int]:
        """The layers where a blocker stands."""
        return [layer for layer in range(self.tower.transformer.cfg.n_layers) if self.blockers_in(layer)]

    def is_worked_out(self, one: EdgeBlocker) -> bool:
        """Whether its edges are worked out apart from its own `blocked`."""
        return id(one) not in self._taken_at_its_word

    def base(self, here: Here) -> Edges:
        """Who sees whom while nothing is blocked, for the queries of this pass."""
        cfg, layer = self.tower.transformer.cfg, here.layer
        assert layer is not None
        query, key = np.array(here.span)[:, None], np.arange(here.span.stop)[None]
        allowed = np.ones((len(here.span), here.span.stop), dtype=bool)
        if cfg.attention_dir == "causal":
            allowed &= key <= query
        window = cfg.window_sizes[layer]
        if window is not None:
            allowed &= key > query - window
        is_real = real_positions(here.sequences)
        if self.attention_mask is not None:
            is_real &= self.attention_mask.cpu().bool().numpy()
        rows = [allowed & row[None, : here.span.stop] & row[here.span.start : here.span.stop, None] for row in is_real]
        return np.stack(rows)[:, None]

    def asked(self, here: Here) -> Edges:
        """Who sees whom once everything is blocked that should be."""
        asked, n_heads = self.base(here), self.tower.transformer.cfg.n_heads
        for one in self.blockers_in(here.layer or 0):
            blocked = self.blocked_by(one, here)
            if blocked.shape[1] > asked.shape[1]:
                asked = np.repeat(asked, n_heads, axis=1)
            asked = asked & ~blocked
        return asked

    def blocked_by(self, one: EdgeBlocker, here: Here) -> Edges:
        """The edges that one blocker names for the queries of this pass, whether or not they exist."""
        n_heads = self.tower.transformer.cfg.n_heads
        edges = self._edges_of(one, here)[:, None]
        chosen = heads_of(one.chosen_heads, n_heads)
        if chosen is None:
            return edges
        of_heads = np.zeros((len(edges), n_heads, *edges.shape[2:]), dtype=bool)
        for head in chosen:
            of_heads[:, head] = edges[:, 0]
        return of_heads

    def _edges_of(self, one: EdgeBlocker, here: Here) -> Bool[np.ndarray, "batch query_pos key_pos"]:
        sequences, span = here.sequences, here.span
        edges = np.zeros((sequences.n_rows, len(span), span.stop), dtype=bool)
        for row in range(sequences.n_rows):
            rectangles = rectangles_of(one, here.layer or 0, sequences, row)
            if rectangles is None:  # nothing to go by but its word, for the whole sequence at once
                self._taken_at_its_word.add(id(one))
                whole = one.blocked(here.layer or 0, sequences, range(span.stop)).cpu().numpy()
                return np.asarray(whole[:, span.start :, : span.stop])
            for queries, keys in rectangles:
                inside = [position - span.start for position in queries if position in span]
                edges[row][np.ix_(inside, [position for position in keys if position < span.stop])] = True
        return edges


def rectangles_of(one: EdgeBlocker, layer: int, sequences: Sequences, row: int) -> list[Rectangle] | None:
    """The edges that a blocker should take away in one row, worked out apart from its `blocked`.

    Returns:
        Pairs of query and key positions, each query losing each key: by its method `expected(layer, sequences, row)`,
        or from its fields `queries` and `keys`. None where there is nothing to go by but `blocked`.
    """
    expected = one.field("expected", None)
    if expected is not None:
        found = expected(layer, sequences, row)
        return None if found is None else list(found)
    if not one.blocks_rectangle:
        return None
    queries, keys = (positions_of(sequences, one.field(name), row) for name in ("queries", "keys"))
    return [(queries, keys), (keys, queries)] if one.field("bidirectional", False) else [(queries, keys)]


def positions_of(sequences: Sequences, selector: Selector, row: int) -> tuple[int, ...]:
    """The positions of one row that a selector means; none for a region of another row."""
    if isinstance(sequences, TokenLayout) and isinstance(selector, Region) and selector.row != row:
        return ()
    return sequences.positions(selector, row)


def real_positions(sequences: Sequences) -> Bool[np.ndarray, "batch pos"]:
    """True at what is not padding."""
    if not isinstance(sequences, TokenLayout):
        return np.ones(sequences.shape, dtype=bool)
    return np.array([[role != "pad" for role in sequences.roles(row)] for row in range(sequences.n_rows)])


def once_a_pass(here: Here, key: Any, make: Any) -> Tensor:
    """An array made once a pass and used in all layers that are alike, as a tensor where it is wanted."""
    if key not in here.current.memo:
        here.current.memo[key] = torch.from_numpy(np.ascontiguousarray(make())).to(here.device)
    found: Tensor = here.current.memo[key]
    return found

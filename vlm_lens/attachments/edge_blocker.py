"""Writers that block edges of attention, before the softmax and with attention fused."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import torch
from einops import repeat
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Writer, declares
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.hook_names import heads_of, hooks_in_layers, layers_of
from vlm_lens.attachments.naming.towers import Tower, tower_named
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError
from vlm_lens.model.hook_point import MaskHookPoint
from vlm_lens.model.positions import Positions

_NO_EDGES = ("layers", "heads", "name", "on_empty")
"""Fields that say where edges are taken away, and not which."""


class EdgeBlocker(Writer):
    """A writer of `hook_mask`: it takes away edges of attention, and the weights of the others grow to sum to 1.

    A subclass says which edges, by `blocked`; it has fields `layers`, and perhaps `heads` and `tower`. `run.verify()`
    asks `blocked` again; one with a method `expected(layer, sequences, row)` is held to that instead: pairs of query
    and key positions of a row, each query losing each key, worked out apart from `blocked` (None where they cannot be).
    """

    edits_in_place: ClassVar[bool] = False
    layers: Any

    blocks_rectangle: ClassVar[bool] = False
    """Whether its edges are all from `queries` to `keys`, and back if `bidirectional`: a proof works them out."""

    @property
    def tower_name(self) -> str:
        """The tower: the field `tower`, or the decoder."""
        return str(self.field("tower", "decoder"))

    @property
    def chosen_heads(self) -> Any:
        """The heads: the field `heads`, or all."""
        return self.field("heads", None)

    @abstractmethod
    def blocked(self, layer: int, sequences: Sequences, queries: range) -> Bool[Tensor, "batch query_pos key_pos"]:
        """True at the edges to take away, from some absolute query positions to all key positions up to the last.

        Args:
            layer: which layer.
            sequences: all positions so far.
            queries: the query positions wanted, the last of all.
        """

    def edges_differ_by_layer(self) -> bool:
        """Whether `blocked` depends on the layer; if not, it is worked out once a pass."""
        return False

    def edges_key(self, layer: int) -> tuple[Any, ...]:
        """Blockers that are held and have equal keys take away the same edges in all heads that they choose."""
        where = layer if self.edges_differ_by_layer() else None
        if where is not None or not (self.blocks_rectangle and declares(self, "blocks_rectangle", "blocked")):
            return id(self), where
        values = [getattr(self, one.name) for one in fields(self) if one.name not in _NO_EDGES]
        return (type(self), *(one if isinstance(one, str | bool) else id(one) for one in values))

    def losing(self, layer: int, sequences: Sequences) -> Bool[Tensor, "batch query_pos"]:
        """True at the queries that may lose a key; a subclass may know it without asking `blocked`."""
        return self.blocked(layer, sequences, range(sequences.n_positions)).any(dim=-1)

    def known_losing(self, layer: int, sequences: Sequences) -> Bool[Tensor, "batch query_pos"]:
        """The queries that may lose a key; `losing` is not asked where a subclass has changed `blocked` alone."""
        is_known = declares(self, "losing", "blocked")
        return self.losing(layer, sequences) if is_known else EdgeBlocker.losing(self, layer, sequences)

    def touched(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """The queries that may lose a key, layer by layer."""
        tower = tower_named(ground.model, self.tower_name)
        sequences = ground.planned.sequences(tower.name)  # type: ignore[arg-type]
        if sequences is None or not declares(self, "blocked", "write"):
            return None
        memo, touched = ground.planned.memo, {}
        for name in self.hook_names(ground.model):
            layer = ground.model.hook_dict[name].layer()
            assert layer is not None
            key = ("losing", tower.name, *self.edges_key(layer))
            if key not in memo:
                memo[key] = self.known_losing(layer, sequences)
            touched[name] = memo[key]
        return touched

    def hook_names(self, model: Any) -> list[str]:
        """The mask of each of its layers."""
        return hooks_in_layers(tower_named(model, self.tower_name), "attn.hook_mask", self.layers, self.on_empty)

    def write(self, activation: Bool[Tensor, "batch heads query_pos key_pos"], here: Here) -> Tensor:
        """The mask without the blocked edges."""
        memo, layer = here.current.memo, here.layer
        assert layer is not None
        # Layers that are given one mask and lose the same edges share the result, so that it is examined once.
        key = ("edges", id(self), layer if self.edges_differ_by_layer() else None, id(activation))
        if key not in memo:
            blocked = self.blocked(layer, here.sequences, range(here.span.start, here.n_keys))
            if here.columns is not None:
                blocked = blocked[:, [position - here.span.start for position in here.columns]]
            blocked = blocked[:, None].to(activation.device)
            assert isinstance(here.hook, MaskHookPoint)
            chosen = heads_of(self.chosen_heads, here.hook.n_heads)
            if chosen is not None:
                is_chosen = torch.zeros(here.hook.n_heads, dtype=torch.bool, device=activation.device)
                is_chosen[list(chosen)] = True
                blocked = blocked & is_chosen[None, :, None, None]
            memo[key] = (activation, activation & ~blocked)
        kept: Tensor = memo[key][1]
        return kept

    def check(self, ground: Ground) -> None:
        """As every attachment; and it must block an edge that exists.

        Raises:
            EmptySelectionError: where causality or padding forbids every one of its edges already.
        """
        super().check(ground)
        tower = tower_named(ground.model, self.tower_name)
        sequences = ground.planned.sequences(tower.name)  # type: ignore[arg-type]
        if sequences is None:
            return
        depths = layers_of(self.layers, tower.transformer.cfg.n_layers, on_empty=self.on_empty)
        windows = tower.transformer.cfg.window_sizes
        # Layers with one window and the same edges need one look.
        alike = depths if self.edges_differ_by_layer() else {windows[layer]: layer for layer in depths}.values()
        memo = ground.planned.memo
        for layer in alike:
            key = ("blocks", tower.name, windows[layer], *self.edges_key(layer))
            if key not in memo:
                span = span_of(self.known_losing(layer, sequences), tower)
                memo[key] = bool(span) and bool(
                    (self.blocked(layer, sequences, span) & allowed_edges(tower, sequences, layer, span)).any()
                )
            if memo[key]:
                return
        raise EmptySelectionError(
            f"{self!r} blocks nothing", "edges that causality and padding allow", "none among those that it names"
        )


def allowed_edges(
    tower: Tower, sequences: Sequences, layer: int, queries: range
) -> Bool[Tensor, "batch query_pos key_pos"]:
    """Who may attend to whom in a layer while nothing is blocked: some queries, and all keys up to the last of them."""
    cfg, device = tower.transformer.cfg, torch.device("cpu")
    is_real = None if tower.name == "vision" else sequences.mask("all")[:, : queries.stop]
    positions = Positions(sequences.n_rows, len(queries), queries.start, is_real, device)
    return positions.masks(cfg)[cfg.window_sizes[layer]].allowed[:, 0]


def span_of(queries: Bool[Tensor, "batch pos"], tower: Tower) -> range:
    """The positions from the first to the last query marked in any row, or to the end where keys may come later."""
    found = queries.any(dim=0).nonzero().flatten()
    if not len(found):
        return range(0)
    is_causal = tower.transformer.cfg.attention_dir == "causal"
    return range(int(found[0]), int(found[-1]) + 1 if is_causal else queries.shape[1])


def rectangle(
    queries: Bool[Tensor, "batch query_pos"], keys: Bool[Tensor, "batch key_pos"]
) -> Bool[Tensor, "batch query_pos key_pos"]:
    """Every edge from some queries to some keys."""
    n_queries, n_keys = queries.shape[1], keys.shape[1]
    return repeat(queries, "batch query -> batch query key", key=n_keys) & repeat(
        keys, "batch key -> batch query key", query=n_queries
    )

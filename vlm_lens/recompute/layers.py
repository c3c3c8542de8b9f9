"""Through the layers of a tower: what all variants share, and beside it the rows of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.naming.towers import Tower
from vlm_lens.errors import HookError
from vlm_lens.model.attention_mask import AttentionMask
from vlm_lens.model.block import TransformerBlock
from vlm_lens.model.key_value_cache import LayerKeysValues
from vlm_lens.model.packed_rows import PackedRows
from vlm_lens.model.packed_rows import Variant as PackedVariant
from vlm_lens.model.positions import Positions
from vlm_lens.model.rotary import RotaryAngles
from vlm_lens.model.scaled_attention import attention_pattern, attention_scores, fused_attention, read_by
from vlm_lens.recompute.dispatch import Dispatch, Part
from vlm_lens.recompute.edges import Edges
from vlm_lens.recompute.prefix import KeysValues, Prefix
from vlm_lens.recompute.recent import Recent
from vlm_lens.recompute.rows import TowerRows
from vlm_lens.recompute.variant import Rows, Variant


class HeldKeysValues(LayerKeysValues):
    """The keys and values of one pass through one layer, for others to read.

    Args:
        before: those of the positions before, of another run.
    """

    def __init__(self, before: KeysValues | None = None) -> None:
        super().__init__(0)
        self.before = before

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The new ones, after those before."""
        if self.before is not None:
            k, v = (torch.cat((old.to(new.device), new), dim=2) for old, new in zip(self.before, (k, v), strict=True))
        self.keys, self.values = k, v
        return k, v


@dataclass(frozen=True, eq=False)
class LayerDone:
    """What one layer has made.

    Attributes:
        layer: which.
        stream: before it, of the run that nothing was done to; after a prefix perhaps of the positions there alone.
        shared: keys and values of the run that nothing was done to.
        packs: for each pack of variants their parts, and the keys and values of their own rows.
    """

    layer: int
    stream: Float[Tensor, "batch pos d_model"]
    shared: HeldKeysValues
    packs: Sequence[tuple[Sequence[Part], HeldKeysValues]]


class Layers:
    """A tower's layers, run once for what all share and, layer by layer, for the rows of each variant.

    Args:
        tower: whose layers.
        dispatch: stands at the hooks.
        rows_of, edges_of: what a variant computes in this tower, and who may attend to whom there.
        max_rows: rows of variants that pass a layer together.
    """

    def __init__(
        self,
        tower: Tower,
        dispatch: Dispatch,
        rows_of: Callable[[Variant], TowerRows | None],
        edges_of: Callable[[Variant], Edges | None],
        max_rows: int,
    ) -> None:
        self.tower, self.dispatch, self.rows_of, self.edges_of = tower, dispatch, rows_of, edges_of
        self.max_rows = max_rows
        self._indices: dict[tuple[int, torch.device], tuple[Rows, Tensor]] = {}
        self._allowed_rows: Recent[tuple[Tensor, Rows, Tensor, Tensor]] = Recent()

    def run(
        self,
        stream: Float[Tensor, "batch pos d_model"],
        is_real: Tensor | None,
        variants: Sequence[Variant],
        n_layers: int,
        ending: Rows | None = None,
        on_layer: Callable[[LayerDone], None] = lambda done: None,
        prefix: Prefix | None = None,
    ) -> Float[Tensor, "batch asking_pos d_model"]:
        """The shared stream after the layers; each variant's own is left in it.

        Args:
            stream: of all positions before the first layer, those of the prefix left out.
            is_real: which are no padding; None if all are.
            variants: with their `stream` before the first layer, where they have one.
            n_layers: how many layers to run.
            ending: the rows of the shared run that are wanted after the last layer; None for all.
            on_layer: is told of each layer.
            prefix: what an earlier run has computed of the first positions.
        """
        transformer, n_before = self.tower.transformer, 0 if prefix is None else prefix.n_positions
        self.n_shared = n_before + stream.shape[1]
        angles = None
        if transformer.rotary is not None:
            whole = Positions(stream.shape[0], self.n_shared, 0, is_real, stream.device)
            angles = RotaryAngles.of(*transformer.rotary(stream, whole.ids))
        positions = Positions(stream.shape[0], stream.shape[1], n_before, is_real, stream.device)
        masks = positions.masks(transformer.cfg)
        for layer in range(n_layers):
            block = cast(TransformerBlock, transformer.blocks[layer])
            device = block.ln1.w.device
            if stream.device != device:
                stream, angles = stream.to(device), angles if angles is None else angles.to(device)
                masks = {window: mask.to(device) for window, mask in masks.items()}
            mask = masks[transformer.cfg.window_sizes[layer]]
            is_cut = ending is not None and layer == n_layers - 1 and not self._is_watched(layer)
            held = HeldKeysValues(None if prefix is None else prefix.layers[layer])
            left = stream if prefix is None else prefix.continued(layer, stream)
            with self.dispatch.shared():
                rows = self._cut(mask, cast(Rows, ending)) if is_cut else mask
                stream = block(stream, rows, None if angles is None else angles.after(n_before), held)
            packs = list(self._variants_through(layer, block, left, held, angles, variants))
            self.dispatch.forget()
            self._turn(variants)
            on_layer(LayerDone(layer, left, held, packs))
        if ending is not None and stream.shape[1] != len(ending):
            stream = stream[:, self._index(ending, stream.device) - n_before]
        return stream

    def _is_watched(self, layer: int) -> bool:
        """Whether a reader in this layer may want rows that nobody else does."""
        start = self.tower.hook_name(layer, "")
        return any(name.startswith(start) and self.dispatch.has_readers(name) for name in self.dispatch.names)

    def _cut(self, mask: AttentionMask, ending: Rows) -> PackedRows:
        """The last layer of the shared run: every row gives its keys and values, and some go on."""
        n = mask.n_keys
        index = self._index(ending, mask.device) - (n - mask.n_queries)
        everything = torch.arange(n, device=mask.device)
        own = PackedVariant(
            slice(0, n), slice(0, len(ending)), everything, mask.allowed[:, :, index], torch.zeros(n, dtype=torch.bool)
        )
        nothing = torch.zeros(0, 0, n, 0, device=mask.device)
        return PackedRows([own], nothing, nothing, index)

    def _variants_through(
        self,
        layer: int,
        block: TransformerBlock,
        shared: Float[Tensor, "batch pos d_model"],
        held: HeldKeysValues,
        angles: RotaryAngles | None,
        variants: Sequence[Variant],
    ) -> Iterator[tuple[Sequence[Part], HeldKeysValues]]:
        """Every variant that computes rows in this layer, pack by pack."""
        for pack in self._packs(layer, variants):
            parts = list(_parts(pack, layer, self.rows_of))
            device = shared.device
            entering = [self._entered(one.variant, one.entered, shared) for one in parts]
            columns = [self._index(one.entered, device) for one in parts]
            packed = [self._packed(part, layer, column, device) for part, column in zip(parts, columns, strict=True)]
            asking = None
            if any(one.asking is not one.entered for one in parts):
                found = [one.entered_at + np.searchsorted(one.entered, one.asking) for one in parts]
                asking = torch.from_numpy(np.concatenate(found)).to(device)
            assert held.keys is not None and held.values is not None
            own = HeldKeysValues()
            patterns = _Patterns(self.dispatch, block, {id(one): part for one, part in zip(packed, parts, strict=True)})
            rows = PackedRows(packed, held.keys, held.values, asking, patterns)
            turned = None if angles is None else angles.at(torch.cat(columns))
            with self.dispatch.passing(parts):
                left = block(torch.cat(entering, dim=1), rows, turned, own)
            for part in parts:
                part.variant.stream = left[:, part.asking_at : part.asking_at + len(part.asking)]
                part.variant.stream_rows = part.asking
            yield parts, own

    def _packs(self, layer: int, variants: Sequence[Variant]) -> Iterator[list[Variant]]:
        """The variants that compute rows in this layer, as many together as the bound on rows allows."""
        pack: list[Variant] = []
        n_rows = 0
        for variant in variants:
            rows = self.rows_of(variant)
            entered = None if rows is None or layer >= len(rows.entered) else rows.entered[layer]
            if entered is None:
                continue
            if pack and n_rows + len(entered) > self.max_rows:
                yield pack
                pack, n_rows = [], 0
            pack.append(variant)
            n_rows += len(entered)
        if pack:
            yield pack

    def _entered(self, variant: Variant, entered: Rows, shared: Tensor) -> Tensor:
        """A variant's rows of the stream as they enter a layer; the shared stream may lack the prefix's."""
        first = self.n_shared - shared.shape[1]
        if variant.stream_rows is entered and variant.stream is not None:
            return variant.stream.to(shared.device)
        if variant.stream is None:
            return shared[:, self._index(entered, shared.device) - first]
        return variant.own_rows(shared, np.arange(first, self.n_shared), entered)

    def _packed(self, part: Part, layer: int, columns: Tensor, device: torch.device) -> PackedVariant:
        """A part as the attention of this layer is told of it."""
        edges = self.edges_of(part.variant)
        assert edges is not None
        asking = part.asking if len(part.asking) else part.entered[:0]
        if len(asking):
            allowed, seen = self._allowed(edges, part, layer, device)
        else:
            batch = edges.unblocked.sequences.n_rows
            allowed = torch.zeros(batch, 1, 0, self.n_shared, dtype=torch.bool, device=device)
            seen = torch.zeros(self.n_shared, dtype=torch.bool)
            name = self.tower.hook_name(layer, "attn.hook_mask")
            self.dispatch.applied(
                part.variant, edges_hook(edges, name), allowed, asking
            )  # to readers it is shown whole
        hooks = [self.tower.hook_name(layer, f"attn.{name}") for name in ("hook_attn_scores", "hook_pattern")]
        return PackedVariant(
            slice(part.entered_at, part.entered_at + len(part.entered)),
            slice(part.asking_at, part.asking_at + len(part.asking)),
            columns,
            allowed,
            seen,
            any(self.dispatch.is_shown_to(part, name) for name in hooks),
        )

    def _allowed(self, edges: Edges, part: Part, layer: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """What a part's asking rows may attend to, and which positions of the shared run these are (on the CPU)."""
        name = self.tower.hook_name(layer, "attn.hook_mask")
        standing = part.variant.standing(name)
        if edges.is_known(layer) and all(one in edges.blockers.get(layer, ()) for one in standing):
            found = edges.allowed(layer, part.asking)
        else:
            plain = edges.unblocked.allowed(layer, part.asking)
            found = plain & self.dispatch.applied(part.variant, edges_hook(edges, name), plain, part.asking)
            _check_none_is_alone(name, part, plain, found)
        key = (id(found), id(part.entered), device)
        return self._allowed_rows.get(key, lambda: self._held(found, part.entered, device))[2:]

    def _held(self, found: Tensor, entered: Rows, device: torch.device) -> tuple[Tensor, Rows, Tensor, Tensor]:
        found_here = found[..., : self.n_shared]
        seen = found_here.flatten(0, 2).any(dim=0)
        seen[torch.from_numpy(entered)] = False
        return found, entered, found_here.to(device), seen  # the first two are kept, so that their ids stay their own

    def _turn(self, variants: Sequence[Variant]) -> None:
        """A layer has ended: masks that it did not need are let go of."""
        self._allowed_rows.turn()
        for about in {edges.unblocked for one in variants if (edges := self.edges_of(one)) is not None}:
            about.recent.turn()

    def _index(self, rows: Rows, device: torch.device) -> Tensor:
        """A list of rows as a tensor of a device; lists that are one object are brought there once."""
        key = (id(rows), device)
        if key not in self._indices:
            self._indices[key] = (rows, torch.from_numpy(rows).to(device))  # kept, so that its id stays its own
        return self._indices[key][1]


def _check_none_is_alone(name: str, part: Part, before: Tensor, left: Tensor) -> None:
    """Raise if a writer of the mask has left a query without a key, as in any run."""
    lonely = (before.any(dim=-1) & ~left.any(dim=-1)).flatten(0, -2).any(dim=0)
    if bool(lonely.any()):
        got = f"none for query position {', '.join(map(str, part.asking[lonely.numpy()][:8]))}"
        advice = "Leave each query itself, or the first position, to attend to."
        raise HookError(f"Hook on {name}", "every query to keep at least one key", got, advice)


def edges_hook(edges: Edges, name: str) -> Any:
    """The hook on a layer's mask."""
    return edges.unblocked.model.hook_dict[name]


def _parts(pack: Sequence[Variant], layer: int, rows_of: Callable[[Variant], TowerRows | None]) -> Iterator[Part]:
    """The variants of a pack with the places of their rows."""
    entered_at = asking_at = 0
    for variant in pack:
        rows = rows_of(variant)
        assert rows is not None
        entered, asking = rows.entered[layer], rows.asking[layer]
        assert entered is not None
        yield Part(variant, entered, asking, entered_at, asking_at)
        entered_at, asking_at = entered_at + len(entered), asking_at + len(asking)


class _Patterns:
    """Scores and patterns of one variant, written out for what stands there."""

    def __init__(self, dispatch: Dispatch, block: TransformerBlock, parts: dict[int, Part]) -> None:
        self.dispatch, self.attention, self.parts = dispatch, block.attn, parts

    def read_written_out(self, variant: PackedVariant, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What the variant's queries read; fused where nobody wrote."""
        part, scale = self.parts[id(variant)], 1.0 / self.attention.cfg.attn_scale
        scores = attention_scores(q, k, variant.allowed, scale)
        shown = self.dispatch.applied(part.variant, self.attention.hook_attn_scores, scores, part.asking)
        pattern = attention_pattern(shown)
        left = self.dispatch.applied(part.variant, self.attention.hook_pattern, pattern, part.asking)
        if shown is scores and left is pattern:
            return fused_attention(q, k, v, variant.allowed, False, scale)
        return read_by(left, v)

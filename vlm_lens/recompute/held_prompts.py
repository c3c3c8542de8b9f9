"""The keys and values of a prompt as several variants have them, in one batch that decodes from there."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.recompute.dispatch import Part
from vlm_lens.recompute.layers import LayerDone
from vlm_lens.recompute.variant import Rows, Variant


class HeldPrompts:
    """Takes each layer's keys and values as they are made: of every variant its own rows', and the shared ones.

    Rooms are made once, for the positions to come as well. Each variant holds its whole prompt, the part that all share
    included: a kernel that reads a shared part and an own one in one call does not exist in torch.

    Attributes:
        cache: what is held, variant by variant, each with all rows of the batch.

    Args:
        variants: in the order of the batch.
        n_layers: of the decoder.
        n_positions: of prompt and generated positions together.
        is_real: which positions of the prompt are no padding; None if all are.
    """

    def __init__(
        self, variants: Sequence[Variant], n_layers: int, n_positions: int, is_real: Bool[Tensor, "batch pos"] | None
    ) -> None:
        self.n_variants = len(variants)
        self.cache = KeyValueCache(n_layers, n_positions)
        self._is_real = None if is_real is None else is_real.repeat(len(variants), 1)
        self._places = {id(one): place for place, one in enumerate(variants)}
        self._indices: dict[tuple[int, torch.device], tuple[Rows, slice | Tensor]] = {}

    def take(self, done: LayerDone) -> None:
        """Hold what a layer has made; after the last one all is held."""
        keys, values = done.shared.keys, done.shared.values
        assert keys is not None and values is not None
        room, n_prompt = self.cache.layers[done.layer], keys.shape[2]
        room.keys = self._room(keys, ((part, own.keys) for parts, own in done.packs for part in parts))
        room.values = self._room(values, ((part, own.values) for parts, own in done.packs for part in parts))
        self.cache.hold(n_prompt, self._is_real)

    def drop(self, places: Iterable[int]) -> list[int]:
        """Let some variants go, and close the gaps with the last ones: nothing else is moved.

        Returns:
            For each place that is left who stood where before.
        """
        order, n_rows = list(range(self.n_variants)), self._n_rows
        for place in sorted(places, reverse=True):
            last = order.pop()
            if place == len(order):
                continue
            order[place] = last
            for layer in self.cache.layers:
                for room in (layer.keys, layer.values):
                    assert room is not None
                    held = room[:, :, : layer.n_positions]
                    held[place * n_rows : (place + 1) * n_rows] = held[last * n_rows : (last + 1) * n_rows]
        for layer in self.cache.layers:
            assert layer.keys is not None and layer.values is not None
            layer.keys, layer.values = layer.keys[: len(order) * n_rows], layer.values[: len(order) * n_rows]
        if self.cache.is_real is not None:
            self.cache.is_real = self.cache.is_real[: len(order) * n_rows]  # the same for all variants
        self.n_variants = len(order)
        return order

    @property
    def _n_rows(self) -> int:
        """Rows of the batch that each variant has."""
        keys = self.cache.layers[0].keys
        assert keys is not None
        return len(keys) // self.n_variants

    def _room(
        self, shared: Float[Tensor, "batch kv_head pos d_head"], own: Iterator[tuple[Part, Tensor | None]]
    ) -> Float[Tensor, "variant_batch kv_head room d_head"]:
        """All variants' keys, or values, of one layer."""
        batch, n_heads, n_prompt, d_head = shared.shape
        room = shared.new_empty(self.n_variants, batch, n_heads, self.cache.layers[0].capacity, d_head)
        room[:, :, :, :n_prompt] = shared
        for part, packed in own:
            assert packed is not None
            mine = packed[:, :, part.entered_at : part.entered_at + len(part.entered)]
            room[self._places[id(part.variant)]][:, :, self._index(part.entered, shared.device)] = mine
        return rearrange(room, "variant batch ... -> (variant batch) ...")

    def _index(self, rows: Rows, device: torch.device) -> slice | Tensor:
        """Where some rows stand: neighbours are a slice, others are brought to the device once."""
        if int(rows[-1]) - int(rows[0]) + 1 == len(rows):
            return slice(int(rows[0]), int(rows[-1]) + 1)
        key = (id(rows), device)
        if key not in self._indices:
            self._indices[key] = (rows, torch.from_numpy(rows).to(device))  # kept, so that its id stays its own
        return self._indices[key][1]

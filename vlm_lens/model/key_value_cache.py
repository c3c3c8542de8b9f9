"""Keys and values of the positions already seen, for generation."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class LayerKeysValues:
    """One layer's keys and values, in room that grows by doubling so that a step copies nothing."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n_positions = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extended(
        self,
        k: Float[Tensor, "batch kv_head pos d_head"],
        v: Float[Tensor, "batch kv_head pos d_head"],
    ) -> tuple[Float[Tensor, "batch kv_head key_pos d_head"], Float[Tensor, "batch kv_head key_pos d_head"]]:
        """Append the new positions' keys and values; all of them so far."""
        end = self.n_positions + k.shape[2]
        if self.keys is None or self.values is None or end > self.capacity:
            self.capacity = max(self.capacity, 2 * end if self.n_positions else end)
            self.keys, self.values = self._grown(self.keys, k), self._grown(self.values, v)
        self.keys[:, :, self.n_positions : end] = k
        self.values[:, :, self.n_positions : end] = v
        self.n_positions = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grown(self, old: Tensor | None, like: Tensor) -> Tensor:
        room = like.new_empty(like.shape[0], like.shape[1], self.capacity, like.shape[3])
        if old is not None:
            room[:, :, : self.n_positions] = old[:, :, : self.n_positions]
        return room


class KeyValueCache:
    """The keys (rotated) and values of every layer, and which positions are padding.

    Args:
        n_layers: layers of the decoder.
        capacity: positions to make room for at once; more is possible, at the price of a copy.
    """

    def __init__(self, n_layers: int, capacity: int) -> None:
        self.layers = [LayerKeysValues(capacity) for _ in range(n_layers)]
        self.attention_mask: Bool[Tensor, "batch pos"] | None = None

    @property
    def n_positions(self) -> int:
        """How many positions are held."""
        return self.layers[0].n_positions

    @property
    def n_bytes(self) -> int:
        """Bytes that the held positions take."""
        held = [part[:, :, : self.n_positions] for layer in self.layers for part in (layer.keys, layer.values)
                if part is not None]  # fmt: skip
        return sum(part.numel() * part.element_size() for part in held)

    def extended_mask(self, attention_mask: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch key_pos"]:
        """Note which of the new positions are padding; the mask of all positions so far."""
        if self.attention_mask is not None:
            attention_mask = torch.cat((self.attention_mask, attention_mask), dim=1)
        self.attention_mask = attention_mask
        return attention_mask

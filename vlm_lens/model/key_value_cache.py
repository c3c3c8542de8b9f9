"""Keys and values of the positions already seen, for generation."""

from collections.abc import Sequence

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
        """Those held and the new ones together; the new ones are held once the whole pass has succeeded."""
        end = self.n_positions + k.shape[2]
        if self.keys is None or self.values is None or end > self.capacity:
            self.capacity = max(self.capacity, 2 * end if self.n_positions else end)
            self.keys, self.values = self._grown(self.keys, k), self._grown(self.values, v)
        self.keys[:, :, self.n_positions : end] = k
        self.values[:, :, self.n_positions : end] = v
        return self.keys[:, :, :end], self.values[:, :, :end]

    def rooms(self) -> tuple[Float[Tensor, "batch kv_head room d_head"], Float[Tensor, "batch kv_head room d_head"]]:
        """All the room there is for keys and values: what is held, then zeros.

        A mask hides what is not held, but 0 times what is no number is no number.
        """
        assert self.keys is not None and self.values is not None
        self.keys[:, :, self.n_positions :] = 0
        self.values[:, :, self.n_positions :] = 0
        return self.keys, self.values

    def _grown(self, old: Tensor | None, like: Tensor) -> Tensor:
        room = like.new_empty(like.shape[0], like.shape[1], self.capacity, like.shape[3])
        if old is not None:
            room[:, :, : self.n_positions] = old[:, :, : self.n_positions]
        return room


class KeyValueCache:
    """The keys (rotated) and values of every layer, which positions are padding, and how many were dropped.

    Args:
        n_layers: layers of the decoder.
        capacity: positions to make room for at once; more is possible, at the price of a copy.
    """

    def __init__(self, n_layers: int, capacity: int) -> None:
        self.layers = [LayerKeysValues(capacity) for _ in range(n_layers)]
        self.n_positions = 0
        self.n_dropped = 0
        self.is_real: Bool[Tensor, "batch pos"] | None = None

    @classmethod
    def holding(
        cls,
        layers: Sequence[tuple[Float[Tensor, "rows kv_head pos d_head"], Float[Tensor, "rows kv_head pos d_head"]]],
        n_dropped: int,
    ) -> "KeyValueCache":
        """One that begins with some keys (rotated) and values of an earlier run, as many in every layer.

        They may be of other positions in each layer, and of one row for a batch of any size. They are copied when the
        first pass extends them, and never written.

        Args:
            layers: keys and values of each layer.
            n_dropped: how many positions of the earlier run are not held. New positions are counted on from all of
                them, so that nothing moves; windows would be counted wrongly, and are for the caller to refuse.
        """
        n_held = layers[0][0].shape[2]
        cache = cls(len(layers), n_held)  # no room is left, so that the first new position makes a copy
        for room, (keys, values) in zip(cache.layers, layers, strict=True):
            assert keys.shape[2] == values.shape[2] == n_held
            room.keys, room.values, room.n_positions = keys, values, n_held
        cache.n_positions, cache.n_dropped = n_held, n_dropped
        return cache

    @property
    def next_position(self) -> int:
        """Where the first new position stands in a sequence without padding."""
        return self.n_positions + self.n_dropped

    @property
    def n_bytes(self) -> int:
        """Bytes that the held positions take."""
        rooms = [room for layer in self.layers for room in (layer.keys, layer.values) if room is not None]
        return sum(room[:, :, : self.n_positions].numel() * room.element_size() for room in rooms)

    def hold(self, n_positions: int, is_real: Bool[Tensor, "batch pos"] | None) -> None:
        """Keep what a pass has added: so many positions in all, of which these are real (None: all)."""
        self.n_positions, self.is_real = n_positions, is_real
        for layer in self.layers:
            layer.n_positions = n_positions

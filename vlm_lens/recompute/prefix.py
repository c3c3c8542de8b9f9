"""What a run has computed of how it begins, for runs that begin alike: several questions on one picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.attachment import Reader
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.rows_asked import is_local
from vlm_lens.model.hooked_root import position_axis
from vlm_lens.model.rotary import RotaryAngles
from vlm_lens.recompute.beginning import Beginning
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.stations import station_of

SHORTEST: Final = 16
"""Shorter prefixes are computed again."""

LEAST_SHARE: Final = 0.25
"""So are prefixes of a smaller part of a sequence: rows after a prefix read under a written mask, all of them together
under the kernel's own causal flag, which costs half as much."""

_NOT_SHOWN: Final = ("hook_attn_scores", "hook_pattern", "hook_mask")
"""Their rows are as long as the sequence, and are not kept: readers that ask for later ones are shown these."""

KeysValues = tuple[Float[Tensor, "batch kv_head pos d_head"], Float[Tensor, "batch kv_head pos d_head"]]


@dataclass(frozen=True, eq=False)
class Prefix:
    """How a run begins, as it was computed while nothing was done to it.

    Nothing of it depends on what comes later: no row attends to a later one.

    Attributes:
        model: what ran.
        beginning: what it was given.
        n_positions: how many positions are held.
        vectors: of its pictures, as the decoder was given them; None without pictures.
        angles: by which the held positions' keys were turned; None without rotary positions.
        layers: keys (turned) and values of each layer that was run.
        streams: the stream before each layer; () where it was not kept.
        shown: what readers were shown of the held positions, by hook.
    """

    model: Any
    beginning: Beginning
    n_positions: int
    vectors: Float[Tensor, "image patch d_model"] | None = None
    angles: RotaryAngles | None = None
    layers: Sequence[KeysValues] = ()
    streams: Sequence[Float[Tensor, "batch pos d_model"]] = ()
    shown: Mapping[str, Tensor] = field(default_factory=dict)

    def vectors_for(self, planned: Planned) -> Float[Tensor, "image patch d_model"] | None:
        """The vectors of the pictures of another run; None if it has others, or somebody stands on their way."""
        on_the_way = ("vision", "patches", "features")
        names = {name for one in planned.in_parts for name in one.reach.at}
        if any(place_of(planned.model, name) in on_the_way for name in names):
            return None
        return self.vectors if self.beginning.has_pictures_of(beginning_of(planned)) else None

    def for_run(self, planned: Planned) -> "Prefix | None":
        """As much of it as another run can use; None if that is nothing, or too little to gain by."""
        n = min(self.n_positions, self.beginning.n_alike(beginning_of(planned)), _first_read(planned))
        if planned.n_layers > len(self.layers):
            return None
        for name, reader in _readers_of_rows(planned):
            if name not in self.shown:
                n = min(n, _first_asked(planned, name, reader))
        first = first_entered(planned)
        n = min(n, n if self.streams else first)
        if n < SHORTEST or n < LEAST_SHARE * planned.n or not self._is_turned_alike(planned, n):
            return None
        return self._first(n, needs_streams=first < n)

    def continued(
        self, layer: int, stream: Float[Tensor, "batch new_pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """The stream before a layer with the held positions before it, if they are held."""
        return torch.cat((self.streams[layer].to(stream.device), stream), dim=1) if self.streams else stream

    def shown_before(self, name: str, activation: Tensor) -> Tensor:
        """What passes a hook, with the held positions before it."""
        held = self.shown[name].to(activation.device)
        return torch.cat((held, activation), dim=position_axis(name) + activation.ndim)

    def _is_turned_alike(self, planned: Planned, n: int) -> bool:
        """Whether positions turn by the same angles in a run of another length: dynamic scalings look at the length."""
        angles = angles_of(planned, planned.n_shared_rows)
        if angles is None or self.angles is None:
            return angles is self.angles
        held = self.angles.to(angles.cos.device)
        return torch.equal(angles.cos[:, :n], held.cos[:, :n]) and torch.equal(angles.sin[:, :n], held.sin[:, :n])

    def _first(self, n: int, needs_streams: bool) -> "Prefix":
        """Its first positions, as views."""
        return replace(
            self,
            n_positions=n,
            layers=[(keys[:, :, :n], values[:, :, :n]) for keys, values in self.layers],
            streams=[stream[:, :n] for stream in self.streams] if needs_streams else (),
            shown={name: one.narrow(position_axis(name) + one.ndim, 0, n) for name, one in self.shown.items()},
        )


class Keeping:
    """Gathers a prefix as a run passes.

    Args:
        planned: what runs.
        n_positions: how many positions will be of use: if a variant computes any of them, the stream is kept as well.
    """

    def __init__(self, planned: Planned, n_positions: int) -> None:
        self.planned, self.n_positions = planned, n_positions
        self.keeps_streams = first_entered(planned) < n_positions
        self.vectors: Tensor | None = None
        self.layers: list[KeysValues] = []
        self.streams: list[Tensor] = []
        self.shown: dict[str, Tensor] = {}

    def show(self, name: str, activation: Tensor) -> None:
        """What readers were shown at a hook."""
        if is_shown(self.planned.model, name):
            self.shown[name] = activation

    def layer_done(self, stream: Tensor, keys: Tensor, values: Tensor) -> None:
        """The next layer was run.

        Args:
            stream: before it, of all positions or of the last ones.
            keys, values: in it, of all positions.
        """
        self.layers.append((keys, values))
        if self.keeps_streams and stream.shape[1] == keys.shape[2]:
            self.streams.append(stream)

    def kept(self) -> Prefix:
        """The prefix, of as many positions as the run had."""
        planned = self.planned
        beginning, is_whole = beginning_of(planned), len(self.streams) == len(self.layers)
        n = planned.n_shared_rows if self.layers and len(beginning.tokens) else 0
        return Prefix(
            planned.model, beginning, n, self.vectors, angles_of(planned, n), tuple(self.layers) if n else (),
            tuple(self.streams) if n and is_whole else (), self.shown if n else {},
        )  # fmt: skip


def is_shown(model: Any, name: str) -> bool:
    """Whether what readers are shown at a hook can be kept for another run: a layer's positions, one by one."""
    station = station_of(model, name)
    if station is None or name.endswith(_NOT_SHOWN):
        return False
    return station.stage == "final" or (station.stage == "decoder" and station.layer >= 0)


def beginning_of(planned: Planned) -> Beginning:
    """How a run begins."""
    assert planned.current.layout is not None
    return Beginning.of(planned.entries, planned.current.layout)


def is_shown_in_part(name: str) -> bool:
    """Whether readers after a prefix are shown the rows there alone: scores and patterns of the decoder."""
    return name.startswith("blocks.") and name.endswith(("hook_attn_scores", "hook_pattern"))


def angles_of(planned: Planned, n: int) -> RotaryAngles | None:
    """The angles of the first positions of a run that has so many; None where nothing turns."""
    rotary = planned.decoder.tower.transformer.rotary
    if rotary is None or not n:
        return None
    weights = planned.decoder.tower.transformer.ln_final.w.detach()
    return RotaryAngles.of(*rotary(weights[:0], torch.arange(n, device=weights.device)[None]))


def first_entered(planned: Planned) -> int:
    """The first position whose stream a variant takes up in any layer; the sequence's length if none does."""
    layers = [rows for one in planned.in_parts if one.decoder is not None for rows in one.decoder.entered]
    return min((int(rows[0]) for rows in layers if rows is not None), default=planned.n)


def _first_read(planned: Planned) -> int:
    """The first position that must be run: one that is read after the last layer, or the last that is run at all."""
    read = planned.wanted.copy()
    for one in planned.in_parts:
        read |= one.reach.read.final
    return int(np.flatnonzero(read)[0]) if read.any() else max(planned.n_shared_rows - 1, 0)


def _readers_of_rows(planned: Planned) -> Iterator[tuple[str, Reader]]:
    """The readers behind the decoder's beginning, hook by hook."""
    for one in planned.in_parts:
        for name in one.reach.at:
            station = station_of(planned.model, name)
            if station is None or station.stage == "final" or (station.stage == "decoder" and station.layer >= 0):
                yield from ((name, reader) for reader in one.readers(name))


def _first_asked(planned: Planned, name: str, reader: Reader) -> int:
    """The first row of scores or pattern that a local reader asks for; 0 for others: they are shown all positions."""
    if not (is_shown_in_part(name) and is_local(reader)):
        return 0
    key = ("first asked", id(reader))
    if key not in planned.current.memo:
        planned.current.memo[key] = reader, reader.asked(planned.ground)
    asked = planned.current.memo[key][1]
    if asked is None:
        return 0
    rows = asked[name].any(dim=0).nonzero()
    return int(rows[0]) if len(rows) else planned.n

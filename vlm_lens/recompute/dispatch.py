"""Shows each condition its own rows of what passes a hook."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Read, Reader, Writer
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.current_pass import CurrentPass, Sequences
from vlm_lens.attachments.running.rows_asked import is_local
from vlm_lens.errors import HookError
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.hooked_root import position_axis
from vlm_lens.recompute.prefix import Keeping, Prefix, is_shown, is_shown_in_part
from vlm_lens.recompute.stations import station_of
from vlm_lens.recompute.variant import Rows, Variant


@dataclass(frozen=True, eq=False)
class Part:
    """Where the rows of a variant stand in what is passing now.

    Attributes:
        variant: whose.
        entered, asking: the positions that it has there; see `rows.TowerRows`.
        entered_at, asking_at: where these begin.
    """

    variant: Variant
    entered: Rows
    asking: Rows
    entered_at: int = 0
    asking_at: int = 0

    def rows(self, is_asking: bool) -> tuple[Rows, int]:
        """Its positions on one side of a layer, and where they begin."""
        return (self.asking, self.asking_at) if is_asking else (self.entered, self.entered_at)


class Dispatch:
    """Stands at every hook where a condition has something, and shows each its own rows.

    The run that nothing was done to passes first: what readers would see of it is kept until the variants of the same
    hook have passed, since a reader is shown all positions, those that a variant did not compute included. One that is
    not local may carry something from hook to hook: it does so for each condition apart, and in a layer where its
    variant has rows it is shown every hook as these pass, in their order.

    Args:
        model: the whole model.
        variants: the conditions; those whose `at` is empty are what the shared run is.
        current: the pass.
        prefix: what an earlier run has computed of the first positions, which pass no layer here.
        keeping: is told what readers were shown of the run that nothing was done to.
    """

    def __init__(
        self,
        model: Any,
        variants: Sequence[Variant],
        current: CurrentPass,
        prefix: Prefix | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.prefix, self.keeping = prefix, keeping
        self.model, self.variants, self.current = model, variants, current
        self.names = [name for name in model.hook_dict if any(one.standing(name) for one in variants)]
        self._stations = {name: station_of(model, name) for name in self.names}
        self._with_readers = {name for name in self.names if any(one.readers(name) for one in variants)}
        self._passes = {id(one): replace(current, memo={}) for one in variants}
        self._after_prefix = replace(current, n_before=0 if prefix is None else prefix.n_positions, memo={})
        self._shared: dict[str, Tensor] = {}
        self._parts: Sequence[Part] | None = None
        self._sequences: dict[str, Sequences | None] = {}

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Everything stands until the block ends."""
        hook = self._pass
        hook.__func__.returns_new = True  # type: ignore[attr-defined]
        try:
            with self.model.hooks(fwd_hooks=[(name, hook) for name in self.names]):
                yield
        finally:
            for one in (self.current, self._after_prefix, *self._passes.values()):
                one.memo.clear()  # the run has ended: what was worked out for it goes, though reads keep the pass

    @contextmanager
    def shared(self) -> Iterator[None]:
        """The run that nothing was done to passes."""
        self._parts = None
        yield

    @contextmanager
    def passing(self, parts: Sequence[Part]) -> Iterator[None]:
        """Rows of these variants pass, side by side."""
        self._parts = parts
        yield
        self._parts = None

    def forget(self) -> None:
        """Let go of what readers were to be shown of the shared run: its hooks have passed."""
        self._shared.clear()

    def has_readers(self, name: str) -> bool:
        """Whether a reader stands at a hook."""
        return name in self._with_readers

    def is_shown_to(self, part: Part, name: str) -> bool:
        """Whether something at a hook looks at a part: if no row of it asks, readers that are not local alone."""
        standing = part.variant.standing(name)
        return any(len(part.asking) or isinstance(one, Reader) and not is_local(one) for one in standing)

    def _pass(self, activation: Tensor, hook: HookPoint) -> Tensor | None:
        name = str(hook.name)
        if self._parts is None:
            if name in self._with_readers:
                if self.prefix is not None and is_shown(self.model, name):
                    activation = self.prefix.shown_before(name, activation)
                if self.keeping is not None:
                    self.keeping.show(name, activation)
                self._shared[name] = activation.detach()
                self._read_shared(activation, hook)
            return None
        station = self._stations[name]
        is_asking = station is not None and station.side == "asking"
        axis, left = position_axis(name) + activation.ndim, None
        for part in self._parts:
            rows, start = part.rows(is_asking)
            if not len(rows):
                for reader in part.variant.readers(name):
                    self._read(part.variant, reader, activation.narrow(axis, 0, 0), hook, rows)
            if not len(rows) or not part.variant.standing(name):
                continue
            piece = activation.narrow(axis, start, len(rows))
            shown = self.applied(part.variant, hook, piece, rows)
            if shown is not piece:
                left = activation.clone() if left is None else left
                left.narrow(axis, start, len(rows)).copy_(shown)
        return left

    def applied(self, variant: Variant, hook: HookPoint, activation: Tensor, rows: Rows) -> Tensor:
        """What everything that a variant has at a hook leaves of its own rows there."""
        here = None
        for one in variant.standing(str(hook.name)):
            if isinstance(one, Reader):
                self._read(variant, one, activation, hook, rows)
                continue
            assert isinstance(one, Writer)
            if not len(rows):
                continue
            here = here or self._here(hook, rows, activation.device)
            activation = left_by(one, activation, here)
        return activation

    def _read(self, variant: Variant, reader: Reader, activation: Tensor, hook: HookPoint, rows: Rows) -> None:
        """A reader is shown all positions: a variant's own, and the shared run's elsewhere."""
        if not len(rows) and is_local(reader):
            return  # it has read here what all share
        shared = self._shared.get(str(hook.name))
        axis = position_axis(str(hook.name)) + activation.ndim
        if n_hidden := self._n_hidden(str(hook.name)):
            places = torch.from_numpy(np.flatnonzero(rows >= n_hidden)).to(activation.device)
            activation, rows = activation.index_select(axis, places), rows[rows >= n_hidden] - n_hidden
        if shared is not None and len(rows) < shared.shape[axis]:
            index, activation = torch.from_numpy(rows).to(shared.device), activation.to(shared.device)
            if shared.shape[1] < activation.shape[1] and axis == 2:  # a mask that heads no longer share
                shared = shared.expand(-1, activation.shape[1], -1, -1)
            activation = shared.index_copy(axis, index, activation)
        self._show(variant, reader, activation, hook)

    def _show(self, variant: Variant, reader: Reader, activation: Tensor, hook: HookPoint) -> None:
        """What a reader keeps in the pass is its condition's alone, unless it carries nothing from hook to hook."""
        variant.session.current = self.current if is_local(reader) else self._passes[id(variant)]
        if self._n_hidden(str(hook.name)):
            variant.session.current = self._after_prefix
        variant.session._read(reader, activation, hook)

    def _n_hidden(self, name: str) -> int:
        """The first positions that readers are not shown: those of the prefix at scores and patterns."""
        return self.prefix.n_positions if self.prefix is not None and is_shown_in_part(name) else 0

    def _read_shared(self, activation: Tensor, hook: HookPoint) -> None:
        """Readers of variants that compute nothing here read what all share, each local one once."""
        found: dict[int, list[Read]] = {}
        for variant in self.variants:
            for reader in variant.readers(str(hook.name)):
                if self._computes(variant, reader, str(hook.name)):
                    continue
                assert variant.session.record is not None
                reads = variant.session.record.reads.setdefault(id(reader), [])
                if id(reader) in found:
                    reads.extend(found[id(reader)])
                    continue
                before = len(reads)
                self._show(variant, reader, activation, hook)
                if is_local(reader):
                    found[id(reader)] = reads[before:]

    def _computes(self, variant: Variant, reader: Reader, name: str) -> bool:
        """Whether a reader will be shown a hook when its variant's own rows pass."""
        station = self._stations[name]
        assert station is not None
        return variant.computes_at(station if is_local(reader) else station._replace(side="entering"))

    def _here(self, hook: HookPoint, rows: Rows, device: torch.device) -> Here:
        name = str(hook.name)
        place = place_of(self.model, name)
        if place not in self._sequences:
            self._sequences[place] = self.current.sequences(place)
        sequences = self._sequences[place]
        assert sequences is not None
        span = range(int(rows[0]), int(rows[-1]) + 1)
        columns = None if len(span) == len(rows) == sequences.n_positions else tuple(rows.tolist())
        return Here(self.model, hook, place, self.current, sequences, span, device, columns)


def left_by(writer: Writer, activation: Tensor, here: Here) -> Tensor:
    """What a writer leaves of an activation that it is given; the activation itself is not edited."""
    given = activation.clone() if writer.edits_in_place else activation
    left = writer.write(given, here)
    left = given if left is None else left
    if not here.hook.accepts(activation.shape, left.shape):
        rule = f"a tensor of shape {tuple(activation.shape)}"
        raise HookError(f"{writer.label} at {here.name}", rule, f"shape {tuple(left.shape)}")
    return left.to(activation.device, activation.dtype)

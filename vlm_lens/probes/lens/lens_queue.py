"""States that wait to be read out together: the vocabulary is multiplied once for as many as the memory holds."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.probes.lens.lens_statistics import LensStatistics, Reduction
from vlm_lens.probes.lens.read_out import ReadOut

VALUES_HELD = 4
"""fp32 numbers held at once for each output of a place (logits, probabilities, and what the kernels ask for) and for
each component of its state (as it waits, joined, normed, in fp32)."""

CACHED = 16 * 2**20
"""Bytes of logits at once on the CPU, where passes over what has left the cache cost more than a larger product
saves."""


class Awaited:
    """What some states say, once they were read out."""

    def __init__(self, queue: "LensQueue") -> None:
        self._queue = queue
        self._parts: list[LensStatistics] = []

    def take(self, part: LensStatistics) -> None:
        """What the next of its places say."""
        self._parts.append(part)

    @property
    def statistics(self) -> LensStatistics:
        """Of all its places; they are read out now, if they still wait."""
        self._queue.finish()
        return LensStatistics.joined(self._parts)


class LensQueue:
    """States of several layers, read out as soon as there are as many as fit the memory.

    A lens on the last position of 33 states thus reads the unembedding once and not 33 times; nothing here waits for
    the device, and nothing leaves it.

    Args:
        read_out: from a state to the outputs' logits.
        top_k: how many of the best outputs to keep.
        groups: for each target the outputs whose probabilities are summed.
        memory: bytes to work with beside the model; at least one place is worked on at a time.
        is_merged: whether the other groups stand as one output each where a group is ranked.
    """

    def __init__(
        self,
        read_out: ReadOut,
        top_k: int,
        groups: Sequence[tuple[int, ...]],
        memory: int,
        is_merged: bool = False,
    ) -> None:
        self.read_out, self.memory = read_out, memory
        self._reduced = Reduction(top_k, groups, is_merged)
        self._waiting: list[tuple[Tensor, Awaited]] = []
        self._n_waiting = 0

    def put(self, states: Float[Tensor, "place d_model"]) -> Awaited:
        """Have states read out, now or later. They must be no view of what may yet be edited."""
        awaited, n_at_once = Awaited(self), self._n_at_once(states)
        while len(states):
            n_free = max(1, n_at_once - self._n_waiting)
            self._waiting.append((states[:n_free], awaited))
            self._n_waiting += len(states[:n_free])
            states = states[n_free:]
            if self._n_waiting >= n_at_once:
                self.finish()
        return awaited

    @torch.no_grad()
    def finish(self) -> None:
        """Read out what waits."""
        if not self._waiting:
            return
        parts, awaiting = zip(*self._waiting, strict=True)
        self._waiting, self._n_waiting = [], 0
        states = parts[0] if len(parts) == 1 else torch.cat([part.to(parts[0].device) for part in parts])
        statistics = self._reduced(self.read_out.logits(states, self.memory))
        for awaited, part in zip(awaiting, statistics.split([len(part) for part in parts]), strict=True):
            awaited.take(part)

    def _n_at_once(self, states: Float[Tensor, "place d_model"]) -> int:
        n_outputs = self.read_out.n_outputs
        n_at_once = self.memory // (4 * VALUES_HELD * (n_outputs + states.shape[-1]))
        if states.device.type == "cpu":
            n_at_once = min(n_at_once, CACHED // (4 * n_outputs))
        return max(1, n_at_once)


def lens_statistics(
    states: Float[Tensor, "place d_model"],
    read_out: ReadOut,
    top_k: int,
    groups: Sequence[tuple[int, ...]],
    memory: int,
    is_merged: bool = False,
) -> LensStatistics:
    """What some states say, read out by themselves; see `LensQueue`."""
    return LensQueue(read_out, top_k, groups, memory, is_merged).put(states).statistics

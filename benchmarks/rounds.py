"""Interleaved rounds: whatever else the machine does falls on everyone alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Entry:
    """What is timed in one round.

    Attributes:
        call: runs the whole task, or some of its conditions.
        scale: by how much its time is multiplied to stand for the whole.
        n_rounds: in how many of the rounds it takes part, spread over them.
    """

    call: Callable[[], object]
    scale: float = 1.0
    n_rounds: int | None = None


def seconds_of(call: Callable[[], object], device: str) -> float:
    """The wall-clock time of one call, with everything it queued done."""
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(entries: Mapping[str, Entry], n_rounds: int, device: str) -> dict[str, list[float | None]]:
    """The seconds of every entry in every round, in an order that turns; None in rounds that it sits out."""
    times: dict[str, list[float | None]] = {name: [] for name in entries}
    names = list(entries)
    for round_ in range(n_rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            entry = entries[name]
            n_of_its_own = min(entry.n_rounds or n_rounds, n_rounds)
            takes_part = (round_ + 1) * n_of_its_own // n_rounds > round_ * n_of_its_own // n_rounds
            times[name].append(seconds_of(entry.call, device) * entry.scale if takes_part else None)
    return times


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of what was measured."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def ratios(times: list[float | None], baseline: list[float | None]) -> Spread | None:
    """One over the other, round by round where both ran, so that what slows a round cancels."""
    both = [one / other for one, other in zip(times, baseline, strict=True) if one is not None and other is not None]
    return Spread.of(both) if both else None

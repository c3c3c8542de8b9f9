"""What an experiment works on: a model, examples, options, and a folder for what all its shards share."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlm_lens.data import Dataset
from vlm_lens.experiments.grid import Grid
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.sweeps import SweepResult


@dataclass(frozen=True, eq=False)
class Context:
    """What an experiment works on.

    Attributes:
        vlm: the model.
        data: the examples that are left after the experiment's own filters, in their order.
        options: what was chosen.
        seed: of everything that is drawn by chance; see `random`.
        folder: for files that all shards share (a mean, for instance): written once, before the first shard.
        shows_progress: whether preparations show a bar.
        memory: bytes that a sweep may take; None for what is there.
    """

    vlm: HookedVLM
    data: Dataset
    options: Any
    seed: int
    folder: Path
    shows_progress: bool = True
    memory: int | None = None
    _held: dict[str, Any] = field(default_factory=dict, repr=False)

    def random(self, *purpose: object) -> np.random.Generator:
        """Numbers that depend on the seed and the purpose alone: `context.random(example.id, "random tokens", 20)`.

        So a row is the same in whichever shard, order, process or resumed run it is made.
        """
        told = hashlib.sha256(repr((self.seed, *map(str, purpose))).encode()).digest()
        return np.random.default_rng(np.frombuffer(told, np.uint32))

    def sweep(self, grid: Grid) -> SweepResult:
        """What a grid of conditions gives, each the same as run by itself."""
        names = [name if isinstance(name, str) else " | ".join(map(str, name)) for name in grid.conditions]
        conditions = dict(zip(names, grid.conditions.values(), strict=True))
        return self.vlm.sweep(grid.inputs, conditions, read=grid.read, memory=self.memory, shows_progress=False)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Something costly that is made once in a process: a mean read from `folder`, a judge, a table of tokens."""
        if name not in self._held:
            self._held[name] = make()
        return self._held[name]

    @property
    def costs(self) -> tuple[str, ...]:
        """What was spent in this process by whatever `once` holds that asks a paid service, such as a judge."""
        return tuple(f"{name}: {one.cost}" for name, one in self._held.items() if hasattr(one, "cost"))

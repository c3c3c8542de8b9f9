"""A run's first grid, done twice: as one sweep and as a plain loop, held against each other and timed."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment
from vlm_lens.experiments.grid import Grid
from vlm_lens.sweeps import Generated, Sweep

Found = TypeVar("Found")


@dataclass(frozen=True)
class AgainstTheLoop:
    """How a sweep stands against `vlm.run` (or `vlm.generate`) for each of its conditions.

    Attributes:
        example: whose grid it was.
        n_conditions: in the grid.
        sweep_seconds: the sweep, the clean run with it.
        loop_seconds: the loop, without the clean run.
        deviation: the largest difference of any logit that both gave, as a share of the largest logit; None where
            probes alone are read (their tables are compared then, number by number).
    """

    example: str
    n_conditions: int
    sweep_seconds: float
    loop_seconds: float
    deviation: float | None

    def __str__(self) -> str:
        equal = "the tables of all probes are equal"
        if self.deviation is not None:
            equal = f"logits equal within {self.deviation:.1e} of the largest"
        return (
            f"Example {self.example}, {self.n_conditions} conditions, timed once each: a sweep in "
            f"{self.sweep_seconds:.2f} s, a plain loop in {self.loop_seconds:.2f} s "
            f"({self.loop_seconds / self.sweep_seconds:.1f} x); {equal}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)


def against_the_loop(experiment: Experiment, context: Context) -> AgainstTheLoop | None:
    """The first example that has a grid, swept and looped over; None for an experiment without one.

    Raises:
        VerificationError: the two differ by more than 1e-5 of the largest logit (more in half precision).
    """
    for example in context.data:
        grid = experiment.grid(context, example)
        if grid is None:
            return None
        if not grid.conditions:
            continue
        context.sweep(grid)  # warms up the kernels
        found, sweep_seconds = _timed(partial(context.sweep, grid))
        runs, loop_seconds = _timed(partial(_loop, context, grid))
        named = {str(name): objects for name, objects in grid.conditions.items()}
        Sweep(context.vlm, grid.inputs, named, read=grid.read, verify="all", shows_progress=False).run()
        deviation = max((_deviation(cell, run) for cell, run in zip(found, runs, strict=True)), default=None)
        has_logits = found.clean.logits is not None or found.clean.generation is not None
        return AgainstTheLoop(example.id, len(named), sweep_seconds, loop_seconds, deviation if has_logits else None)
    return None


def _loop(context: Context, grid: Grid) -> list[Any]:
    runs: list[Any] = []
    for objects in grid.conditions.values():
        attached = (*_several(objects), *(one for one in _several(grid.read) if hasattr(one, "hook_names")))
        generated = next((one for one in _several(grid.read) if isinstance(one, Generated)), None)
        if generated is None:
            runs.append(context.vlm.run(grid.inputs, *attached))
        else:
            runs.append(context.vlm.generate(grid.inputs, *attached, **generated.options))
    return runs


def _several(given: Any) -> tuple[Any, ...]:
    return () if given is None else tuple(given) if isinstance(given, list | tuple) else (given,)


def _deviation(cell: Any, run: Any) -> float:
    """Of the logits of the first token, which both have whatever follows."""
    if cell.generation is not None:
        mine, loop = cell.generation.logits[:, 0], run.logits[:, 0]
    elif cell.logits is not None and cell.logits.ndim == 2:
        mine, loop = cell.logits, run.logits[:, -1]
    else:
        return 0.0
    mine, loop = mine.double().cpu(), loop.double().cpu()
    return float((mine - loop).abs().max() / loop.abs().max())


def _timed(run: Callable[[], Found]) -> tuple[Found, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    found = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, time.perf_counter() - start

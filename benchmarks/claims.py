"""What must hold of a record, and whether it does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Tasks = dict[str, Any]
SWEEPS = (
    "sweep-to-last",
    "sweep-to-text",
    "blocking-table",
    "mean-ablation",
    "mean-ablation-answers",
    "part-identification",
)
GENERATIONS = ("vlm_lens", "vlm_lens, static cache")
FASTEST_LOOP = "the fastest rival's loop"


@dataclass(frozen=True)
class Claim:
    """One line of the table of what must hold.

    Attributes:
        what: in words.
        value: from the tasks of a record; raises KeyError or TypeError where something was not measured.
        limit: on the CPU; None where nothing is asked for there.
        limit_on_cuda: the same for CUDA; "same" where it is the CPU's.
        is_least: the value must be at least the limit, else at most.
        unit: after the figure.
    """

    what: str
    value: Callable[[Tasks], float]
    limit: float | None
    limit_on_cuda: float | Literal["same"] | None = "same"
    is_least: bool = False
    unit: str = "x"

    def limit_for(self, device: str) -> float | None:
        is_same = not device.startswith("cuda") or self.limit_on_cuda == "same"
        return self.limit if is_same else self.limit_on_cuda  # type: ignore[return-value]

    def of(self, record: dict[str, Any]) -> tuple[float | None, bool | None]:
        """The figure, and whether it holds; None where it was not measured or is not asked for on this device."""
        try:
            value = self.value(record["tasks"])
        except (KeyError, TypeError):
            return None, None
        limit = self.limit_for(record["sizes"]["device"])
        return value, None if limit is None else (value >= limit if self.is_least else value <= limit)


def of_forward(task: str, contestant: str) -> Callable[[Tasks], float]:
    return lambda tasks: tasks[task]["contestants"][contestant]["forward_passes"]["median"]


def of_baseline(task: str, contestant: str) -> Callable[[Tasks], float]:
    return lambda tasks: tasks[task]["contestants"][contestant]["of_baseline"]["median"]


def times_faster(task: str, contestant: str) -> Callable[[Tasks], float]:
    """The fastest rival's median over the contestant's."""

    def value(tasks: Tasks) -> float:
        everyone = tasks[task]["contestants"]
        return everyone[tasks[task]["best_rival"]]["seconds"]["median"] / everyone[contestant]["seconds"]["median"]

    return value


def of_floor(task: str, contestant: str) -> Callable[[Tasks], float]:
    return lambda tasks: tasks[task]["contestants"][contestant]["seconds"]["median"] / tasks[task]["floor_seconds"]


def largest_deviation(tasks: Tasks) -> float:
    """Of every sweep that was measured, over the largest value."""
    found = [tasks[name]["contestants"]["vlm_lens sweep"] for name in SWEEPS if name in tasks]
    return max(one["deviation"] for one in found if "deviation" in one) if found else _nothing()


def deviation_over_batch(tasks: Tasks) -> float:
    """The sweeps' largest deviation over what the naive loop differs by at another batch size."""
    ratios = []
    for name in SWEEPS:
        sweep = tasks.get(name, {}).get("contestants", {}).get("vlm_lens sweep", {})
        if "deviation" in sweep and tasks[name].get("batch_deviation"):
            ratios.append(sweep["deviation"] / tasks[name]["batch_deviation"])
    return max(ratios) if ratios else _nothing()


def generation(tasks: Tasks) -> float:
    """The quicker of this library's two ways, over `transformers`."""
    return min(of_baseline("generation", name)(tasks) for name in GENERATIONS)


def floor_of_generation(tasks: Tasks) -> float:
    return min(of_floor("generation", name)(tasks) for name in GENERATIONS)


def _nothing() -> float:
    raise KeyError("no sweep was measured")


SWEEP = "vlm_lens sweep"
CLAIMS = (
    Claim("forward, no hooks, over transformers sdpa", of_baseline("forward", "vlm_lens"), 1.02, 1.02),
    Claim("forward over its floor", of_floor("forward", "vlm_lens"), None, 1.25),
    Claim(
        "residual cache, in forward passes of transformers sdpa", of_forward("residual-cache", "vlm_lens"), 1.08, 1.05
    ),
    Claim("knockout sweep, object -> last, in forward passes", of_forward("sweep-to-last", SWEEP), 1.3, unit="passes"),
    Claim(f"the same, faster than {FASTEST_LOOP}", times_faster("sweep-to-last", SWEEP), 20, is_least=True),
    Claim(
        f"sweep from image to query text, faster than {FASTEST_LOOP}",
        times_faster("sweep-to-text", SWEEP),
        10,
        12,
        is_least=True,
    ),
    Claim("blocking table, 36 cells, in forward passes", of_forward("blocking-table", SWEEP), 2.5, unit="passes"),
    Claim(
        f"part identification, of the time of {FASTEST_LOOP}",
        lambda tasks: 1 / times_faster("part-identification", SWEEP)(tasks),
        0.35,
    ),
    Claim(
        f"18-row mean ablation with generated answers, faster than {FASTEST_LOOP}",
        times_faster("mean-ablation-answers", SWEEP),
        2,
        7,
        is_least=True,
    ),
    Claim("generation, time over transformers sdpa", generation, 1.0, None),
    Claim(
        "generation, tokens per second over transformers sdpa",
        lambda tasks: 1 / generation(tasks),
        None,
        2.5,
        is_least=True,
    ),
    Claim("generation, the floor's share of its time", lambda tasks: 1 / floor_of_generation(tasks), None),
    Claim("every sweep next to the naive loop, of the largest value", largest_deviation, 1e-5, None, unit=""),
    Claim("the same, over what the naive loop differs by at batch 2", deviation_over_batch, None, 2.0),
)

"""One task, measured: equal outputs, FLOPs and memory first, then interleaved rounds."""

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.conditions import PLAIN, Condition
from benchmarks.equality import TOLERANCE, Unequal, deviation, relative, smallest_effect
from benchmarks.floor import Floor
from benchmarks.flops import counted
from benchmarks.memory import peak_bytes
from benchmarks.rivals import BASELINE, CannotDo, Ours, Rival
from benchmarks.rivals.plain import Transformers
from benchmarks.rivals.rival import Output
from benchmarks.rounds import Entry, Spread, interleaved, ratios
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task

FORWARD = "one forward pass"
log = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class Options:
    """How long to measure.

    Attributes:
        n_rounds: of every task.
        seconds: a round gives a loop about so long; a longer one runs some of its conditions, others in each round,
            and its time is scaled up. None runs every condition.
    """

    n_rounds: int = 5
    seconds: float | None = 2.0


@dataclass(eq=False)
class Contestant:
    """A way to do a task, and what was found of it before the rounds."""

    name: str
    run: Callable[[Sequence[Condition]], list[Output]]
    is_loop: bool
    rival: Rival
    found: dict[str, Any] = field(default_factory=dict)
    seconds_each: float = 0.0


def contestants(task: Task, rivals: Sequence[Rival]) -> list[Contestant]:
    """Every rival's loop, this library's other ways, and its sweep."""

    def loop(verb: Callable[[Any, Condition], Output], rival: Rival) -> Callable[[Sequence[Condition]], list[Output]]:
        return lambda conditions: [verb(rival, condition) for condition in conditions]

    found = [Contestant(one.name, loop(task.verb, one), True, one) for one in rivals]
    ours = rivals[-1]
    if isinstance(ours, Ours):
        found += [
            Contestant(f"{ours.name}, {name}", loop(verb, ours), True, ours) for name, verb in task.variants.items()
        ]
        if task.sweep is not None:
            sweep = task.sweep
            found.append(Contestant(f"{ours.name} sweep", lambda conditions: sweep(ours, conditions), False, ours))
    return found


def measured(task: Task, rivals: Sequence[Rival], sizes: Sizes, floor: Floor, options: Options) -> dict[str, Any]:
    """Everything that the record keeps of one task."""
    everyone = contestants(task, rivals)
    record: dict[str, Any] = {"what": task.what, "n_conditions": len(task.conditions)}
    record |= prove(task, everyone, sizes, options)
    able = [one for one in everyone if "left_out" not in one.found]
    entries = {FORWARD: Entry(lambda: rivals[0].logits())}
    entries |= {one.name: entry_of(one, task.conditions, options) for one in able}
    times = interleaved(entries, options.n_rounds, sizes.device)
    loops = [one for one in able if one.rival.name != Ours.name]
    for one in able:
        one.found["scale"] = entries[one.name].scale
        one.found |= timing(times[one.name], times[FORWARD], times.get(BASELINE))
    own = task.extra_rows, task.n_unembedded, task.runs_of_tower, task.n_new, len(task.conditions)
    if task.sweep is not None:
        record["batch_deviation"] = batch_deviation(rivals[0], sample(task.conditions, options))
    record["floor_seconds"] = floor.seconds(*own)
    record["forward_seconds"] = Spread.of(times[FORWARD]).as_record()  # type: ignore[arg-type]
    record["best_rival"] = min(loops, key=lambda one: one.found["seconds"]["median"]).name if loops else None
    record["contestants"] = {one.name: one.found for one in everyone}
    return record


def timing(
    times: list[float | None], forward: list[float | None], baseline: list[float | None] | None
) -> dict[str, Any]:
    """Seconds, forward passes and the ratio to the baseline: medians and quartiles of what the rounds gave."""
    in_passes, against = ratios(times, forward), baseline and ratios(times, baseline)
    return {
        "rounds": times,
        "seconds": Spread.of([one for one in times if one is not None]).as_record(),
        "forward_passes": in_passes and in_passes.as_record(),
        "of_baseline": against and against.as_record(),
    }


def prove(task: Task, everyone: Sequence[Contestant], sizes: Sizes, options: Options) -> dict[str, Any]:
    """Run everyone once: equal outputs, FLOPs, peak memory; who cannot or does otherwise is left out with a reason."""
    tolerance, reference = TOLERANCE[sizes.dtype], {}
    found: dict[str, Any] = {"tolerance": tolerance}
    for one in everyone:
        checked = task.conditions if one.is_loop and not reference or not one.is_loop else ()
        checked = checked or sample(task.conditions, options)
        start = time.perf_counter()
        try:
            outputs, flops = counted(lambda one=one, checked=checked: one.run(checked))
        except CannotDo as reason:
            one.found["left_out"] = str(reason)
            continue
        one.seconds_each = (time.perf_counter() - start) / len(checked)
        if not reference:
            reference = dict(zip(task.conditions, outputs, strict=True))
            found |= {"reference": one.name} | effect(task, one.rival, reference)
        try:
            differs = deviation(outputs, [reference[condition] for condition in checked], tolerance)
        except Unequal as reason:
            log.error("%s: %s is not timed: %s", task.name, one.name, reason)
            one.found |= {"left_out": f"its outputs are others: {reason}", "is_unequal": True}
            continue
        del outputs
        few = checked if not one.is_loop else checked[:2]
        one.found |= {
            "note": one.rival.note,
            "deviation": differs,
            "n_compared": len(checked),
            "flops": flops * len(task.conditions) / len(checked),
            "peak_bytes": peak_bytes(lambda one=one, few=few: one.run(few), sizes.device),
        }
        log.info("%s: %s agrees to %.1e", task.name, one.name, differs)
    return found


def effect(task: Task, rival: Rival, reference: dict[Condition, Output]) -> dict[str, Any]:
    """How much the conditions move the output at least, so that agreeing means something."""
    changed = [one for one in task.conditions if one.changes]
    if not changed:
        return {}
    plain: dict[tuple[int, ...], Output] = {}
    for one in changed:
        if one.patches not in plain:
            plain[one.patches] = task.verb(rival, Condition(PLAIN.name, (), one.patches))
    return {
        "smallest_effect": smallest_effect([reference[one] for one in changed], [plain[one.patches] for one in changed])
    }


def batch_deviation(baseline: Rival, conditions: Sequence[Condition]) -> float:
    """How far the naive loop is from itself at a batch of two: the rounding that a sweep is measured against."""
    assert isinstance(baseline, Transformers)
    pairs = ((baseline.doubled_logits(one.changes), baseline.last_logits(one.changes)) for one in conditions)
    return max(relative(doubled["logits"], alone["logits"]) for doubled, alone in pairs)


def sample(conditions: Sequence[Condition], options: Options) -> Sequence[Condition]:
    """Some conditions, spread evenly, for a loop that is only checked: four at most unless all are wanted."""
    step = 1 if options.seconds is None else -(-len(conditions) // 4)
    return conditions[::step]


def entry_of(one: Contestant, conditions: Sequence[Condition], options: Options) -> Entry:
    """What a round times: all conditions, or as many as the seconds allow, other ones in each round."""
    n_each = len(conditions)
    if one.is_loop and options.seconds is not None:
        n_each = min(max(int(options.seconds / max(one.seconds_each, 1e-9)), 1), n_each)
    if n_each == len(conditions):
        return Entry(lambda: one.run(conditions))
    step = -(-len(conditions) // n_each)
    turning = itertools.cycle([condition for start in range(step) for condition in conditions[start::step]])
    return Entry(lambda: one.run(list(itertools.islice(turning, n_each))), len(conditions) / n_each)

"""Every task, one after the other, for everyone at the table."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.floor import Floor, Rates
from benchmarks.machine import machine, versions
from benchmarks.measure import Options, measured
from benchmarks.model import random_inputs, random_llava
from benchmarks.record import OtherRecord, Record, path_for
from benchmarks.rivals import Setup, rivals
from benchmarks.sizes import Sizes, add_size_arguments, sizes_of
from benchmarks.tasks import TASKS
from benchmarks.tasks.growth import GROWTH, growth
from benchmarks.tasks.kinds import KINDS, knockout_kinds

EVERY = [*TASKS, KINDS, GROWTH]
log = logging.getLogger("benchmarks")


def main(defaults: Sizes, what: str, argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 0 when all outputs agreed."""
    arguments = parsed(defaults, what, argv)
    sizes = sizes_of(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    options = Options(arguments.rounds, None if arguments.whole_loops else arguments.seconds)
    head = {"sizes": sizes.as_record(), "versions": versions(), "machine": machine(sizes.device)}
    head["options"] = {"rounds": options.n_rounds, "seconds": options.seconds}
    log.info("%s", head)
    try:
        with torch.no_grad():
            return run_tasks(arguments, sizes, options, head)
    except OtherRecord as reason:
        log.error("%s", reason)
        return 2


def run_tasks(arguments: argparse.Namespace, sizes: Sizes, options: Options, head: dict[str, Any]) -> int:
    setup = Setup(sizes, random_llava(sizes), random_inputs(sizes))
    everyone = rivals(setup, tuple(arguments.rivals))
    rates = Rates.measured(sizes)
    head |= {"rates": rates.as_record(), "n_parameters": sum(one.numel() for one in setup.model.parameters())}
    keeps = arguments.resume or arguments.tasks != EVERY
    record = Record(arguments.out or path_for(sizes), head, keeps=keeps)
    n_unequal, floor = 0, Floor(sizes, rates)
    for name in arguments.tasks:
        if arguments.resume and record.has(name):
            log.info("%s is in the record already", name)
            continue
        start = time.perf_counter()
        if name == GROWTH:
            found = growth(sizes, options)
        elif name == KINDS:
            found = knockout_kinds(setup, options)
        else:
            found = measured(TASKS[name](sizes), everyone, sizes, floor, options)
            n_unequal += sum("is_unequal" in one for one in found["contestants"].values())
        found["took_seconds"] = time.perf_counter() - start
        record.keep(name, found)
        show(name, found)
    log.info("written to %s", record.path)
    return int(n_unequal > 0)


def show(name: str, found: dict[str, Any]) -> None:
    """The figures of one task, as lines of the log."""
    log.info("%s: %s; took %.0f s", name, found["what"], found["took_seconds"])
    for kind, one in found.get("kinds", {}).items():
        log.info("  %-44s %9.3f s  %.3f of a plain run", kind, one["seconds"]["median"], one["of_plain_run"]["median"])
    for contestant, one in found.get("contestants", {}).items():
        if "left_out" in one:
            log.info("  %-28s left out: %s", contestant, one["left_out"])
            continue
        seconds, passes = one["seconds"], one["forward_passes"]
        log.info(
            "  %-28s %9.3f s [%.3f, %.3f]  %7.2f forward passes  %8.1f GFLOP  %6.0f MiB",
            *(contestant, seconds["median"], seconds["low"], seconds["high"], passes["median"] if passes else 0),
            *(one["flops"] / 1e9, (one["peak_bytes"] or 0) / 2**20),
        )


def parsed(defaults: Sizes, what: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--tasks", nargs="+", choices=EVERY, default=EVERY, help="the record keeps its others")
    parser.add_argument("--rivals", nargs="*", default=[], help="names as in the table; none for all")
    parser.add_argument("--rounds", type=int, default=Options.n_rounds)
    parser.add_argument("--seconds", type=float, default=Options.seconds, help="a round gives a loop about so long")
    parser.add_argument("--whole-loops", action="store_true", help="time every condition of every loop")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, on the CPU")
    parser.add_argument("--resume", action="store_true", help="skip the tasks that the record has already")
    parser.add_argument("--out", type=Path, help="the record; benchmarks/results by default")
    add_size_arguments(parser, defaults)
    return parser.parse_args(argv)

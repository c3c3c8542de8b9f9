"""Write `performance.md` from the records of `benchmarks/results`.

    python -m docs.make_performance

Nothing is measured here, and no figure stands on the page that is not in a record: `make bench` makes the CPU's,
`python benchmarks/gpu.py` one on CUDA. `tests/benchmarks/test_performance_page.py` holds the page against them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import CLAIMS, Claim
from benchmarks.record import RESULTS

PAGE = Path(__file__).parent / "performance.md"
MIB, GIGA = 2**20, 1e9
INTRODUCTION = """# How fast, next to what

Made by `python -m docs.make_performance` from the records in `benchmarks/results`; change those, not this page.

Everyone holds the same random weights of a real shape and does the same work. Before anything is timed their outputs
are compared, and whoever computes something else is not timed. Then every round times each contestant once, in an order
that turns. Figures are medians, with the quartiles in brackets; ratios are taken round by round. A loop that is longer
than a round's share runs some of its conditions in each round, others each time, and its time is scaled up: the column
"timed" says how many. "Passes" are forward passes of `transformers` sdpa over the prompt, with all logits, in the same
rounds. GFLOP are what torch dispatched (fused attention counts its whole rectangle). Memory is the peak beyond what was
held before the call, of a loop that of two conditions. The floor is what the needed products and weights take at rates
that were measured in the same run, everything else free (`benchmarks/floor.py`).
"""


def page() -> str:
    """The whole page."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("side-by-side-*.json"))]
    return "\n".join([INTRODUCTION, *(section(record) for record in records)])


def section(record: dict[str, Any]) -> str:
    """One machine."""
    sizes, tasks = record["sizes"], record["tasks"]
    where = "CUDA" if sizes["device"].startswith("cuda") else "CPU"
    parts = [f"## On {where}, {sizes['dtype']}\n", surroundings(record), claims_table(record)]
    parts += [task_table(name, task) for name, task in tasks.items() if "contestants" in task]
    if "knockout-kinds" in tasks:
        parts.append(kinds_table(tasks["knockout-kinds"]))
    if "growth" in tasks:
        parts.append(growth_tables(tasks["growth"]))
    return "\n".join(parts)


def surroundings(record: dict[str, Any]) -> str:
    """Model, machine, versions and rates."""
    sizes, machine, rates = record["sizes"], record["machine"], record["rates"]
    n_positions = (sizes["image_size"] // sizes["patch_size"]) ** 2 + sizes["text_tokens"]
    best = max(rates["flops_per_second"].values())
    options = record["options"]
    share = "every condition of every loop" if options["seconds"] is None else f"{options['seconds']:g} s to a loop"
    lines = [
        f"{record['n_parameters'] / 1e6:,.0f} M parameters, {sizes['decoder_layers']} decoder layers of width "
        f"{sizes['d_model']}, {n_positions} positions; {options['rounds']} rounds, {share} a round.",
        ", ".join(f"{name}: {value}" for name, value in machine.items()) + ".",
        ", ".join(f"{name} {value}" for name, value in record["versions"].items()) + ".",
        f"Measured rates: {best / GIGA:,.0f} GFLOP/s for the fastest linear map of the model at its rows, "
        f"{rates['copy_bytes_per_second'] / GIGA:,.1f} GB/s for a copy, read and written.",
    ]
    return "\n\n".join(lines) + "\n"


def claims_table(record: dict[str, Any]) -> str:
    """What must hold, and what came out."""
    rows = [claim_row(claim, record) for claim in CLAIMS]
    return table(("must hold", "limit", "measured", ""), rows)


def claim_row(claim: Claim, record: dict[str, Any]) -> tuple[str, ...]:
    limit = claim.limit_for(record["sizes"]["device"])
    value, holds = claim.of(record)
    asked = "" if limit is None else f"{'>=' if claim.is_least else '<='} {number(limit)}"
    said = "not measured" if value is None else f"{number(value)} {claim.unit}".strip()
    verdict = "" if holds is None else "holds" if holds else "falls short"
    return claim.what, asked, said, verdict


def task_table(name: str, task: dict[str, Any]) -> str:
    """Everyone at one task."""
    rows = [contestant_row(who, one, task) for who, one in task["contestants"].items()]
    floor = task["floor_seconds"]
    effect = task.get("smallest_effect")
    notes = [f"Floor {seconds(floor)}; one forward pass {spread(task['forward_seconds'])}."]
    if effect is not None:
        notes.append(f"The condition that does least moves its output by {effect:.1e} of the largest value.")
    head = ("", "time", "passes", "of the floor", "GFLOP", "memory, MiB", "timed", "differs by")
    return f"### {name}\n\n{task['what'].capitalize()}. {' '.join(notes)}\n\n{table(head, rows)}"


def contestant_row(who: str, one: dict[str, Any], task: dict[str, Any]) -> tuple[str, ...]:
    if "left_out" in one:
        return (who, f"left out: {one['left_out']}", *[""] * 6)
    n_timed = round(task["n_conditions"] / one["scale"])
    n_rounds = sum(value is not None for value in one["rounds"])
    memory = "" if one["peak_bytes"] is None else f"{one['peak_bytes'] / MIB:,.0f}"
    passes = one["forward_passes"]
    return (
        f"{who} ({one['note']})" if one["note"] else who,
        spread(one["seconds"]),
        f"{passes['median']:.2f}" if passes else "",
        f"{one['seconds']['median'] / task['floor_seconds']:.2f} x",
        f"{one['flops'] / GIGA:,.0f}",
        memory,
        f"{n_timed} of {task['n_conditions']}, {n_rounds} rounds",
        f"{one['deviation']:.1e}",
    )


def kinds_table(task: dict[str, Any]) -> str:
    rows = [
        (name, spread(one["seconds"]), f"{one['of_plain_run']['median']:.3f} x") for name, one in task["kinds"].items()
    ]
    return f"### knockouts of every kind\n\n{task['what']}.\n\n{table(('', 'time', 'of a plain run'), rows)}"


def growth_tables(task: dict[str, Any]) -> str:
    """Three tables: conditions, tokens, layers."""
    parts = [f"### growth\n\n{task['what'].capitalize()}. The loop's time is one run's, times the conditions.\n"]
    head = ("conditions", "route", "one pass", "sweep", "passes", "loop", "pass, MiB", "sweep, MiB")
    for axis in ("conditions", "tokens", "layers"):
        rows = [growth_row(row) for row in task["rows"] if row["axis"] == axis]
        names = head if axis == "conditions" else (axis, *head)
        if axis == "conditions":
            rows = [row[1:] for row in rows]
        parts.append(table(names, rows))
    return "\n".join(parts)


def growth_row(row: dict[str, Any]) -> tuple[str, ...]:
    taken, peaks = row["seconds"], row["peak_bytes"]
    sweep, passes = seconds(taken["sweep"]), f"{taken['sweep'] / taken['forward']:.2f}"

    def mib(name: str) -> str:
        return "" if peaks.get(name) is None else f"{peaks[name] / MIB:,.0f}"

    measured = (seconds(taken["forward"]), sweep, passes, seconds(row["naive_seconds"]), mib("forward"), mib("sweep"))
    return (str(row["value"]), str(row["n_conditions"]), row["route"], *measured)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def spread(found: dict[str, Any]) -> str:
    return f"{seconds(found['median'])} [{seconds(found['low'])}, {seconds(found['high'])}]"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def number(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 1e-2 else f"{value:.3g}"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

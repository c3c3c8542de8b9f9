"""How time and memory of a sweep grow: with conditions, with tokens, with layers; beside a pass for each condition."""

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.conditions import Blocked, Condition, positions_of, text_positions, thing
from benchmarks.equality import TOLERANCE, deviation
from benchmarks.measure import Options
from benchmarks.memory import peak_bytes
from benchmarks.model import random_inputs, random_llava
from benchmarks.rivals import Ours, Setup
from benchmarks.rounds import Entry, Spread, interleaved
from benchmarks.sizes import Sizes

GROWTH = "growth"
CONDITIONS = (1, 8, 32, 256)
TOKENS = (150, 616, 1200, 2900)
LAYERS = (0.25, 0.5, 1.0, 2.0)
"""Of the decoder's own depth."""

log = logging.getLogger("benchmarks")


def growth(
    sizes: Sizes,
    options: Options,
    conditions: Sequence[int] = CONDITIONS,
    tokens: Sequence[int] = TOKENS,
    layers: Sequence[float] = LAYERS,
) -> dict[str, Any]:
    """Rows of the three tables. The naive loop is one timed run for one condition, times their number."""
    rows = []
    for axis, value, chosen, n_conditions in points(sizes, conditions, tokens, layers):
        gc.collect()  # the last model goes before the next one comes
        setup = Setup(chosen, random_llava(chosen), random_inputs(chosen))
        for route in ("last", "text"):
            found = point(setup, route, n_conditions, options)
            rows.append({"axis": axis, "value": value, "route": route, "n_conditions": n_conditions} | found)
            log.info("growth: %s", rows[-1])
    what = (
        "knockout object -> last (1 row changes) and image -> text (the text's rows change), starts spread over depth"
    )
    return {"what": what, "rows": rows}


def points(
    sizes: Sizes, conditions: Sequence[int], tokens: Sequence[int], layers: Sequence[float]
) -> Iterator[tuple[str, int, Sizes, int]]:
    """The axis, its value, the sizes and the number of conditions of each model that is made."""
    usual = min(sizes.decoder_layers, max(conditions))
    for n_conditions in conditions:
        yield "conditions", n_conditions, sizes, n_conditions
    for n_tokens in tokens:
        side = max(round((n_tokens - sizes.text_tokens) ** 0.5), 2)
        chosen = replace(sizes, image_size=side * sizes.patch_size)
        yield "tokens", chosen.n_positions, chosen, usual
    for share in layers:
        chosen = replace(sizes, decoder_layers=max(int(share * sizes.decoder_layers), 1))
        yield "layers", chosen.decoder_layers, chosen, usual


def point(setup: Setup, route: str, n_conditions: int, options: Options) -> dict[str, Any]:
    """The sweep and one run of the naive loop: seconds, and peak memory."""
    ours, sizes = Ours(setup), setup.sizes
    conditions = spread_conditions(sizes, route, n_conditions)
    middle = conditions[len(conditions) // 2].changes
    entries = {
        "forward": Entry(lambda: ours.vlm(setup.inputs)),
        "one run": Entry(lambda: ours.last_logits(middle)),
        "sweep": Entry(lambda: ours.swept_logits(conditions)),
    }
    peaks, outputs = {}, {}
    for name, entry in entries.items():
        peaks[name] = peak_bytes(lambda name=name, entry=entry: outputs.update({name: entry.call()}), sizes.device)
    some = range(len(conditions))[:: max(len(conditions) // 4, 1)]
    alone = [ours.last_logits(conditions[place].changes) for place in some]
    differs = deviation([outputs["sweep"][place] for place in some], alone, TOLERANCE[sizes.dtype])
    outputs.clear()
    times = interleaved(entries, max(options.n_rounds // 2, 2), sizes.device)
    medians = {name: Spread.of([one for one in taken if one is not None]).median for name, taken in times.items()}
    naive = medians["one run"] * n_conditions
    return {"deviation": differs, "seconds": medians, "peak_bytes": peaks, "naive_seconds": naive, "rounds": times}


def spread_conditions(sizes: Sizes, route: str, n_conditions: int) -> list[Condition]:
    """So many different knockouts: starts over the depth, and from the second turn on another margin of the object."""
    found = []
    for index in range(n_conditions):
        turn, start = divmod(index, sizes.decoder_layers)
        layers = tuple(range(start, min(start + sizes.window, sizes.decoder_layers)))
        if route == "last":
            queries, patches = (sizes.n_positions - 1,), thing(sizes, margin=turn)
        else:
            queries, patches = text_positions(sizes), tuple(range(turn, sizes.n_patches))
        found.append(Condition(f"{route}, {index}", (Blocked(queries, positions_of(sizes, patches), layers),)))
    return found

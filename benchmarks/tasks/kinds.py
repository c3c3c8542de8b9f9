"""What a run with a knockout costs next to a plain run of this library: one row, the text, heads, layers, the tower."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.conditions import Blocked, positions_of, text_positions, thing
from benchmarks.equality import TOLERANCE, Unequal, deviation
from benchmarks.measure import Options
from benchmarks.rivals import Ours, Setup
from benchmarks.rivals.plain import Transformers
from benchmarks.rounds import Entry, Spread, interleaved, ratios
from benchmarks.sizes import Sizes
from vlm_lens import AttentionKnockout, TopKContext

KINDS = "knockout-kinds"
PLAIN_RUN = "plain run"


def knockout_kinds(setup: Setup, options: Options) -> dict[str, Any]:
    """Seconds of a run with each kind, checks and all, over a plain run of the same model.

    Raises:
        Unequal: a kind that `transformers` can be told does something else there.
    """
    ours, sizes = Ours(setup), setup.sizes
    reference = Transformers(setup, "sdpa")
    differs: dict[str, float] = {}
    calls: dict[str, Callable[[], object]] = {PLAIN_RUN: lambda: ours.vlm(setup.inputs)}
    for name, change in told_to_everyone(sizes).items():
        tolerance = TOLERANCE[sizes.dtype]
        try:
            differs[name] = deviation([ours.last_logits((change,))], [reference.last_logits((change,))], tolerance)
        except Unequal as reason:
            raise Unequal(f"{name}: {reason}") from reason
        calls[name] = lambda change=change: ours.vlm.run(ours.inputs, *ours.objects((change,)))
    for name, one in of_this_library(sizes).items():
        calls[name] = lambda one=one: ours.vlm.run(ours.inputs, one)
    times = interleaved({name: Entry(call) for name, call in calls.items()}, options.n_rounds, sizes.device)
    rows = {}
    for name, taken in times.items():
        of_plain = ratios(taken, times[PLAIN_RUN])
        seconds = Spread.of([one for one in taken if one is not None])
        rows[name] = {"seconds": seconds.as_record(), "of_plain_run": of_plain and of_plain.as_record()}
        rows[name] |= {"rounds": taken, "deviation": differs.get(name)}
    return {"what": "vlm.run with a knockout next to a plain run, all logits", "kinds": rows}


def told_to_everyone(sizes: Sizes) -> dict[str, Blocked]:
    """The kinds that every tool can be told."""
    every, n = tuple(range(sizes.decoder_layers)), sizes.decoder_layers
    patches = thing(sizes, margin=1)
    others = tuple(patch for patch in range(sizes.n_patches) if patch not in patches)
    last, image = (sizes.n_positions - 1,), positions_of(sizes, range(sizes.n_patches))
    in_tower = (tuple(1 + patch for patch in one) for one in (patches, others))
    return {
        "object -> last": Blocked(last, positions_of(sizes, patches), every),
        "object -> last, second half of depth": Blocked(last, positions_of(sizes, patches), every[n // 2 :]),
        "image -> text": Blocked(text_positions(sizes), image, every),
        "rest of the image -> object": Blocked(positions_of(sizes, patches), positions_of(sizes, others), every),
        "object <-> rest, vision tower": Blocked(
            *in_tower, tuple(range(sizes.vision_layers)), "vision", is_mutual=True
        ),
    }


def of_this_library(sizes: Sizes) -> dict[str, Any]:
    """Kinds that only this library has a name for."""
    keys = list(positions_of(sizes, thing(sizes, margin=1)))
    chosen = torch.rand(sizes.decoder_layers, sizes.n_patches, generator=torch.Generator().manual_seed(3))
    return {
        "object -> last, two heads": AttentionKnockout("last", keys, heads=[0, 1]),
        "top 5% of the image, other in every layer": TopKContext(0.05, chosen),
    }

"""Attention knockouts in the decoder: one, a window that slides over the layers, the second paper's table."""

from benchmarks.conditions import (
    Blocked,
    Condition,
    positions_of,
    rectangle,
    sliding_windows,
    text_positions,
    thing,
)
from benchmarks.rivals import Ours
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task, changed_rows, logits_of

WINDOWS = {
    "early": (0, 9),
    "early-mid": (5, 14),
    "mid": (11, 20),
    "mid-late": (15, 24),
    "late": (21, 31),
    "all": (0, 31),
}
"""First and last layer of 32, as the paper prints them; other depths take the same shares."""


def window(sizes: Sizes, name: str) -> tuple[int, ...]:
    first, last = (bound * sizes.decoder_layers // 32 for bound in WINDOWS[name])
    return tuple(range(first, last + 1))


def last(sizes: Sizes) -> tuple[int, ...]:
    return (sizes.n_positions - 1,)


def knockout(sizes: Sizes) -> Task:
    blocked = Blocked(last(sizes), positions_of(sizes, thing(sizes)), window(sizes, "mid"))
    return _task(sizes, "one knockout", "object -> last in the middle layers; last logits", [("mid", blocked)])


def sweep_to_last(sizes: Sizes) -> Task:
    keys = positions_of(sizes, thing(sizes, margin=1))
    cells = [(f"from {one[0]}", Blocked(last(sizes), keys, one)) for one in sliding_windows(sizes)]
    what = f"object -> last, {len(cells)} starts of a window of {sizes.window} layers; last logits"
    return _task(sizes, "sweep to last", what, cells)


def sweep_to_text(sizes: Sizes) -> Task:
    image = positions_of(sizes, range(sizes.n_patches))
    cells = [(f"from {one[0]}", Blocked(text_positions(sizes), image, one)) for one in sliding_windows(sizes)]
    what = f"image -> {sizes.text_tokens} text rows, {len(cells)} starts of a window of {sizes.window}; last logits"
    return _task(sizes, "sweep to text", what, cells)


def blocking_table(sizes: Sizes) -> Task:
    """Six windows by six sources (Neo et al. 2024, section 4)."""
    near, n = thing(sizes, margin=1), sizes.n_cols
    rest = tuple(patch for patch in range(sizes.n_patches) if patch not in near)
    last_row = rectangle(sizes, (n - 1) / n, 0, 1 / n, 1)
    upper_rows = tuple(patch for patch in range(sizes.n_patches) if patch not in last_row)
    routes = {
        "object -> last": (last(sizes), thing(sizes)),
        "object+1 -> last": (last(sizes), near),
        "object+2 -> last": (last(sizes), thing(sizes, margin=2)),
        "image - (object+1) -> last": (last(sizes), rest),
        "object+1 -> last row": (positions_of(sizes, last_row), near),
        "upper rows -> last row": (positions_of(sizes, last_row), upper_rows),
    }
    cells = [
        (f"{route}, {name}", Blocked(queries, positions_of(sizes, keys), window(sizes, name)))
        for route, (queries, keys) in routes.items()
        for name in WINDOWS
    ]
    return _task(sizes, "blocking table", "6 windows x 6 routes of the second paper; last logits", cells)


def _task(sizes: Sizes, name: str, what: str, cells: list[tuple[str, Blocked]]) -> Task:
    conditions = tuple(Condition(cell, (blocked,)) for cell, blocked in cells)
    rows = changed_rows(sizes, conditions)
    return Task(name, what, conditions, logits_of, Ours.swept_logits, extra_rows=rows, n_unembedded=len(conditions))

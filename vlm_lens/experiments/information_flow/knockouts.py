"""The knockouts of figures 2 and A4: who no longer sees the picture, and in which layers."""

from typing import Any, NamedTuple

from vlm_lens.errors import InputError
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import Except

TO_GENERATED, TO_TEXT, TO_BOTH = "img -> gen", "img -> txt", "img -> txt+gen"
KNOCKOUTS = (TO_GENERATED, TO_TEXT, TO_BOTH)
FROM, OUTSIDE = "from", "outside"


class Blocked(NamedTuple):
    """Who is blocked, and where.

    Attributes:
        knockout: one of `KNOCKOUTS`.
        layers: "from" for a layer and all behind it, "outside" for all but a window.
        first: the first layer blocked, or the first of the window.
    """

    knockout: str
    layers: str
    first: int


def first_layers(n_layers: int, stride: int) -> range:
    """Where "from layer l on" begins: every `stride`-th layer from 0.

    Raises:
        InputError: a stride below 1.
    """
    if stride < 1:
        raise InputError("Option 'stride'", "at least 1", stride)
    return range(0, n_layers, stride)


def knockouts(
    n_layers: int, window: range, starts: range, queries: str, text_has_last: bool
) -> dict[Blocked, AttentionKnockout]:
    """Every condition of figures 2 (e) and (f).

    Args:
        n_layers: of the decoder.
        window: the layers that "outside" leaves open.
        starts: the first layers of "from".
        queries: the rows that count as generated: "predicting" or "generated".
        text_has_last: whether the last prompt row counts as query text.

    Raises:
        InputError: other queries than these, or a window that leaves no layer outside.
    """
    if len(window) >= n_layers:
        raise InputError("Option 'window'", f"a part of the {n_layers} layers", f"{window}", "Take a smaller one.")
    if queries not in ("predicting", "generated"):
        raise InputError("Option 'queries'", "'predicting' or 'generated'", repr(queries))
    text: Any = "prompt_text" if text_has_last else Except("prompt_text", but="last")
    rows = {TO_GENERATED: queries, TO_TEXT: text, TO_BOTH: [text, queries]}
    layers = {(FROM, first): list(range(first, n_layers)) for first in starts}
    layers[OUTSIDE, window.start] = [layer for layer in range(n_layers) if layer not in window]
    return {
        Blocked(name, *place): AttentionKnockout(who, "image", layers=where)
        for name, who in rows.items()
        for place, where in layers.items()
    }

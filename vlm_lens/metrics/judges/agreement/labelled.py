"""Pairs of captions with the objects that a reader found in them: what a judge is held against."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LABELLED = Path(__file__).parent / "caption_pairs.json"

Half = Literal["tuning", "held out"]


@dataclass(frozen=True)
class LabelledPair:
    """Two captions and a reader's verdict on them.

    Attributes:
        half: whether a judge may be tuned on it.
        reference: the first caption.
        candidate: the second.
        matched: pairs of names as they stand in the first and in the second.
        lost: names in the first alone.
        invented: names in the second alone.
    """

    half: Half
    reference: str
    candidate: str
    matched: tuple[tuple[str, str], ...]
    lost: tuple[str, ...]
    invented: tuple[str, ...]


def labelled_pairs(half: Half | None = None) -> list[LabelledPair]:
    """The bundled pairs: one half, or both. The file also says by which rules they were labelled."""
    pairs = [
        LabelledPair(
            one["half"],
            one["reference"],
            one["candidate"],
            tuple((name, other) for name, other in one["matched"]),
            tuple(one["lost"]),
            tuple(one["invented"]),
        )
        for one in json.loads(LABELLED.read_text(encoding="utf-8"))["pairs"]
    ]
    return [one for one in pairs if half in (None, one.half)]

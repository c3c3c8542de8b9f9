"""The number that a gradient is taken of: one logit, or a difference of two, for each row or picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Again, Record
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError, InputError, PositionError
from vlm_lens.layout import Selector, TokenLayout
from vlm_lens.model.two_towers import TwoTowers
from vlm_lens.probes.answer import Contrast, Target, check_has_vocabulary, contrasts_of, warn_of_spelling


@dataclass(frozen=True, eq=False)
class Explained:
    """What is explained of each sequence: of a row of the batch a token's logit, of CLIP's picture a text's similarity.

    Attributes:
        contrasts: for each sequence the tokens (or texts) for and against.
        positions: for each row the position whose logit is read; None for CLIP.
        names: for each sequence what is explained, in words.
    """

    contrasts: tuple[Contrast, ...]
    positions: tuple[int, ...] | None
    names: tuple[str, ...]

    @classmethod
    def of(cls, again: Again, target: Target, against: Target, at: Selector) -> "Explained":
        """What a run's logits say about a target; where none is named, about what the model itself says."""
        model, logits = again.model, again.logits
        if isinstance(model, TwoTowers):
            texts = tuple(getattr(again.record.given, "texts", ()))
            contrasts = _of_texts(target, against, logits.shape[0], logits.shape[1], texts)
            settled = tuple(one.settled(row) for one, row in zip(contrasts, logits, strict=True))
            return cls(settled, None, tuple(one.label(model, texts) for one in settled))
        positions = _positions(again.record, at, logits)
        only_last = logits.shape[1] == 1
        rows = [logits[row, -1 if only_last else position] for row, position in enumerate(positions)]
        contrasts = contrasts_of(model, target, against, len(rows))
        warn_of_spelling(model, target, against, logits=torch.stack(rows))
        settled = tuple(one.settled(row) for one, row in zip(contrasts, rows, strict=True))
        return cls(settled, positions, tuple(one.label(model) for one in settled))

    def options(self, n_positions: int) -> dict[str, bool]:
        """How to run the model so that no more logits than needed are made."""
        is_last = self.positions is not None and all(one == n_positions - 1 for one in self.positions)
        return {"only_last": True} if is_last else {}

    def of_logits(self, logits: Float[Tensor, "sequence *rest"]) -> Float[Tensor, " sequence"]:
        """The numbers, in fp32 or better; the sequences may be repeated along the batch, copy after copy."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        n = len(self.contrasts)
        rows = []
        for place, one in enumerate(logits):
            if self.positions is not None:
                one = one[0 if len(one) == 1 else self.positions[place % n]]
            rows.append(self.contrasts[place % n].of(one))
        return torch.stack(rows)


def check_explained(ground: Ground, one: Any, target: Target, against: Target, at: Selector) -> None:
    """Raise before the model runs for what cannot be explained.

    Raises:
        InputError: a target that is no token; for CLIP one that is no text, or pictures without texts.
        PositionError: not exactly one position in each row; for CLIP `{picture: text}` for other pictures.
        HookError: a model without logits.
    """
    if isinstance(ground.model, TwoTowers):
        return _check_texts(ground, one, target, against)
    check_has_vocabulary(ground.model, one)
    layout = ground.planned.layout
    if layout is None:
        raise HookError(f"{one!r}", "an input whose positions are known", "a stream or pixels", "Give it tokens.")
    one_position_a_row(layout, at)
    contrasts_of(ground.model, target, against, layout.n_rows)


def one_position_a_row(layout: TokenLayout, at: Selector) -> tuple[int, ...]:
    """The one position of each row that a selector means.

    Raises:
        PositionError: none, or several.
    """
    found = [layout.positions(at, row) for row in range(layout.n_rows)]
    for row, positions in enumerate(found):
        if len(positions) != 1:
            got = f"{len(positions)} in row {row} for {at!r}"
            raise PositionError("at", "one position in each row, whose logit is explained", got)
    return tuple(positions[0] for positions in found)


def _positions(record: Record, at: Selector, logits: Tensor) -> tuple[int, ...]:
    assert record.layout is not None
    positions = one_position_a_row(record.layout, at)
    if logits.shape[1] == 1 and any(one != record.layout.n_positions - 1 for one in positions):
        raise InputError("Gradient", "logits of every position", "a run with only_last=True", "Leave that out.")
    return positions


def _check_texts(ground: Ground, one: Any, target: Target, against: Target) -> None:
    """Raise where CLIP has nothing to compare its pictures with, or not what is to be explained."""
    texts, pictures = ground.planned.layout, ground.planned.pictures
    if texts is None or pictures is None:
        advice = "Give both: clip.prepare(images, texts)."
        raise InputError(
            f"{one!r}", "pictures and texts, whose similarity is explained", "one without the other", advice
        )
    _of_texts(target, against, pictures.n_rows, texts.n_rows, ground.planned.texts)


def _of_texts(
    target: Target, against: Target, n_pictures: int, n_texts: int, texts: tuple[str, ...]
) -> tuple[Contrast, ...]:
    """For each picture the columns of CLIP's similarity that are explained."""

    def column(one: Any) -> int:
        place = texts.index(one) if isinstance(one, str) and one in texts else one
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < n_texts:
            known = f", or one of {', '.join(map(repr, texts))}" if texts else ""
            raise InputError("Target", f"the number of a text, 0 to {n_texts - 1}{known}", repr(one))
        return place

    def columns(one: Any, picture: int) -> tuple[int, ...]:
        if isinstance(one, Mapping):
            if set(one) != set(range(n_pictures)):
                rule = f"one for each picture from 0 to {n_pictures - 1}"
                raise PositionError("Targets by picture", rule, f"pictures {sorted(one)}")
            one = one[picture]
        if one is None:
            return ()
        return tuple(map(column, one)) if isinstance(one, list | tuple) else (column(one),)

    return tuple(Contrast(columns(target, row), columns(against, row)) for row in range(n_pictures))

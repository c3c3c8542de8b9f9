"""One pass of the model through its layers: which positions it runs, and what each of them is."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.naming.towers import Place, towers_of
from vlm_lens.layout import PictureLayout, Selector, TokenLayout

Sequences = TokenLayout | PictureLayout
"""A batch of sequences whose positions have names: `mask(selector)`, `positions(selector, row)`, `shape`."""


@dataclass(frozen=True, eq=False)
class CurrentPass:
    """One pass: the prompt's, or that of one generated token.

    Attributes:
        model: what runs.
        layout: the decoder's (or text tower's) positions so far, those of earlier passes included; None without text.
        pictures: the pictures as the vision tower has them; None without any.
        n_before: positions of earlier passes, whose keys and values are held.
        step: 0 for the prompt, and for a plain run.
        keeps_keys: whether passes to come will hold new positions alone, the keys and values of the others being kept.
        texts: what CLIP compares the pictures with, as written; () where that is unknown.
        memo: what attachments worked out for this pass, to be used in all its layers.
    """

    model: Any
    layout: TokenLayout | None
    pictures: PictureLayout | None
    n_before: int = 0
    step: int = 0
    keeps_keys: bool = False
    texts: tuple[str, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def sequences(self, place: Place) -> Sequences | None:
        """The sequences that stand at a place; None where they are unknown."""
        if place == "vision":
            n_class_tokens = int(bool(towers_of(self.model)["vision"].transformer.cfg.has_class_token))
            return None if self.pictures is None else self.pictures.with_class_tokens(n_class_tokens)
        if place in ("patches", "features"):
            n_class_tokens = 0 if place == "patches" else getattr(self.model, "n_class_tokens", 0)
            return None if self.pictures is None else self.pictures.with_class_tokens(n_class_tokens)
        return None if place == "none" else self.layout

    def columns(self, place: Place, n_positions: int) -> range:
        """The absolute positions of an activation that has so many."""
        start = self.n_before if place in ("decoder", "text") else 0
        return range(start, start + n_positions)

    def mask(self, selector: Selector, place: Place, sequences: Sequences) -> Bool[Tensor, "batch pos"]:
        """True at the positions that a selector means, worked out once a pass."""
        key = ("mask", id(selector), place)
        if key not in self.memo:
            self.memo[key] = (selector, sequences.mask(selector))  # the selector is kept, so that its id stays its own
        found: Tensor = self.memo[key][1]
        return found


def plain_layout(is_real: Bool[Tensor, "batch pos"]) -> TokenLayout:
    """A layout of positions of which nothing is known but whether they are padding."""
    return TokenLayout.from_roles([["question" if real else "pad" for real in row] for row in is_real.tolist()])


def all_real(batch: int, n_positions: int) -> TokenLayout:
    """A layout of positions of which nothing is known."""
    return plain_layout(torch.ones(batch, n_positions, dtype=torch.bool))

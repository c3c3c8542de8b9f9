"""Where and when a hook fired, as an intervention or probe is told."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from vlm_lens.attachments.naming.hook_names import heads_of
from vlm_lens.attachments.naming.towers import Place, grid_of, head_axis, place_of
from vlm_lens.attachments.running.current_pass import CurrentPass, Sequences, all_real
from vlm_lens.layout import PictureLayout, Selector
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.hooked_root import position_axis


@dataclass(frozen=True, eq=False)
class Here:
    """One firing of a hook.

    Positions are absolute: under cached generation an activation holds the positions `span` of them, and `rows` and
    `selected` speak of these.

    Attributes:
        model: the whole model.
        hook: the hook point.
        place: whose positions the activation has: one of `towers.Place`.
        current: the pass.
        sequences: the layout of all positions so far; pictures for the vision tower and the projector.
        span: the absolute positions that the activation holds (the query positions of scores, pattern and mask).
        device: where masks are wanted.
        columns: those of the span that are held, ascending; None for all. Some are left out for those alone that
            declare it: by a sweep, for writers that say what they touch; of scores and pattern, for readers that are
            local.
    """

    model: Any
    hook: HookPoint
    place: Place
    current: CurrentPass
    sequences: Sequences
    span: range
    device: torch.device
    columns: tuple[int, ...] | None = None

    @classmethod
    def at(cls, model: Any, hook: HookPoint, activation: Tensor, current: CurrentPass) -> "Here":
        """Where an activation stands."""
        place = place_of(model, str(hook.name))
        n_positions = 1 if place == "none" else activation.shape[position_axis(str(hook.name))]
        sequences = current.sequences(place)
        if sequences is None:
            sequences = _unknown(model, place, activation.shape[0], n_positions)
        span = current.columns(place, n_positions)
        if hook.rows_shown is None:
            return cls(model, hook, place, current, sequences, span, activation.device)
        columns = tuple(span.start + row for row in hook.rows_shown)
        span = range(columns[0], columns[-1] + 1)
        return cls(model, hook, place, current, sequences, span, activation.device, columns)

    @property
    def name(self) -> str:
        """The hook's name."""
        return str(self.hook.name)

    @property
    def layer(self) -> int | None:
        """The layer in the name; None outside the layers."""
        return self.hook.layer()

    @property
    def step(self) -> int:
        """0 for the prompt (and a plain run), 1 for the pass of the first generated token, and so on."""
        return self.current.step

    @property
    def batch(self) -> int:
        """The sequences of the batch: rows of the decoder, or pictures."""
        return self.sequences.n_rows

    @property
    def n_keys(self) -> int:
        """All positions so far: the key side of scores, pattern and mask."""
        return self.span.stop if self.columns is None else self.sequences.n_positions

    @property
    def positions(self) -> range | tuple[int, ...]:
        """The absolute positions held here."""
        return self.span if self.columns is None else self.columns

    def held(self, of_all: Shaped[Tensor, "batch pos ..."]) -> Shaped[Tensor, "batch held_pos ..."]:
        """What is held here of something that is known for all positions."""
        if self.columns is None:
            return of_all[:, self.span.start : self.span.stop]
        return of_all[:, list(self.columns)]

    def rows(self, selector: Selector) -> Bool[Tensor, "batch held_pos"]:
        """True at those of the positions held here that a selector means."""
        return self.held(self.current.mask(selector, self.place, self.sequences)).to(self.device)

    def keys(self, selector: Selector) -> Bool[Tensor, "batch key_pos"]:
        """True at those of all positions so far that a selector means: the key side of scores, pattern and mask."""
        return self.current.mask(selector, self.place, self.sequences)[:, : self.n_keys].to(self.device)

    def selected(self, selector: Selector, activation: Tensor, heads: Any = None) -> Bool[Tensor, "..."]:
        """True at what a selector and heads mean, with 1 for every other axis, to go with the activation.

        Scores, pattern and mask are selected by query position.
        """
        key = ("selected", id(selector), self.place, self.name.rsplit(".", 1)[-1], id(heads), self.positions)
        if key not in self.current.memo:
            self.current.memo[key] = (selector, heads, self._selected(selector, activation, heads))
        found: Tensor = self.current.memo[key][2]
        return found.to(activation.device)

    def _selected(self, selector: Selector, activation: Tensor, heads: Any) -> Tensor:
        shape = [1] * activation.ndim
        shape[0] = activation.shape[0]
        if self.place == "none":
            return torch.ones(shape, dtype=torch.bool, device=self.device)
        axis = position_axis(self.name)
        shape[axis] = activation.shape[axis]
        selected = self.rows(selector).view(shape)
        axis_of_heads = head_axis(self.name)
        chosen = None if axis_of_heads is None else heads_of(heads, activation.shape[axis_of_heads])
        if chosen is None:
            return selected
        assert axis_of_heads is not None
        of_heads = torch.zeros(activation.shape[axis_of_heads], dtype=torch.bool, device=self.device)
        of_heads[list(chosen)] = True
        shape = [1] * activation.ndim
        shape[axis_of_heads] = -1
        return selected & of_heads.view(shape)

    def __repr__(self) -> str:
        return f"Here({self.name}, step {self.step}, positions {self.span.start} to {self.span.stop - 1})"


def _unknown(model: Any, place: Place, batch: int, n_positions: int) -> Sequences:
    """Sequences of which only the shape is known: a tower that was called by itself."""
    if place in ("decoder", "text", "none"):
        return all_real(batch, n_positions)
    tower = getattr(model, "vision", model)
    grid = grid_of(tower)
    return PictureLayout.unknown(batch, grid, n_positions - grid.n_patches)

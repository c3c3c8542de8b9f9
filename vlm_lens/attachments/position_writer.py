"""Writers that put other values in the place of some positions' activations."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Writer, declares
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.layout import Selector


class PositionWriter(Writer):
    """A writer of some positions, and perhaps some heads, of a hook; all others keep their bits.

    A subclass has fields `positions` and `hook`, perhaps `layers` and `heads`, and says by `value` what is written.
    `run.verify()` asks `value` again; one with a method `expected(before, here)` is held to that instead: the whole
    activation as it should be, worked out apart from `value` and read at its positions (None where it cannot be).
    """

    edits_in_place: ClassVar[bool] = False
    positions: Selector

    is_local: ClassVar[bool] = False
    """Whether `value` at a position depends on the activation at that position alone, if at all. A sweep then shows it
    some positions and no more. A subclass with a `value` of its own says so anew."""

    overwrites: ClassVar[bool] = True
    """Whether what stood at the positions before is gone afterwards (an added vector leaves it in)."""

    @abstractmethod
    def value(self, activation: Tensor, here: Here) -> Tensor:
        """What is written, in a shape that broadcasts to the activation's; read at the selected positions alone."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        """The activation with the values in their places."""
        selected = here.selected(self.positions, activation, self.field("heads", None))
        value = self.value(activation, here).to(activation.device, activation.dtype)
        return torch.where(selected, value, activation)

    def touched(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """Its positions, if it is local."""
        if not (self.is_local and declares(self, "is_local", "value") and declares(self, "is_local", "write")):
            return None
        found, masks = {}, {}
        for name in self.hook_names(ground.model):
            sequences = ground.sequences_at(name)
            if sequences is None:
                return None
            if id(sequences) not in masks:
                masks[id(sequences)] = (sequences, sequences.mask(self.positions))
            found[name] = masks[id(sequences)][1]
        return found

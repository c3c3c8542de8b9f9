"""Writers that put other values in the place of some positions' activations."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.here import Here
from vlm_lens.layout import Selector


class PositionWriter(Writer):
    """A writer of some positions, and perhaps some heads, of a hook; all others keep their bits.

    A subclass has fields `positions` and `hook`, perhaps `layers` and `heads`, and says by `value` what is written.
    `run.verify()` asks `value` again; one with a method `expected(before, here)` is held to that instead: the whole
    activation as it should be, worked out apart from `value` and read at its positions (None where it cannot be).
    """

    edits_in_place: ClassVar[bool] = False
    positions: Selector

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

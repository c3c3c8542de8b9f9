"""How inputs begin: which positions and pictures two of them have in common."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.attachments.running.passes import first_pass
from vlm_lens.inputs.entries import Entries, entries_of
from vlm_lens.layout import TokenLayout


@dataclass(frozen=True, eq=False)
class Beginning:
    """What decides how a run begins.

    Attributes:
        tokens: of the only row; none where there are several, or padding, so that positions cannot be shared.
        pixels: of the pictures; None without any.
        image_starts: the first position of each picture of that row.
    """

    tokens: Int[Tensor, " pos"]
    pixels: Float[Tensor, "image channel height width"] | None
    image_starts: tuple[int, ...] = ()

    @classmethod
    def of(cls, entries: Entries, layout: TokenLayout) -> "Beginning":
        """The beginning of what a model is given."""
        if len(entries.input_ids) != 1 or not bool(entries.attention_mask.all()):
            return cls(entries.input_ids[0, :0], entries.pixel_values)
        starts = tuple(span.start for spans in layout.images for span in spans)
        return cls(entries.input_ids[0], entries.pixel_values, starts)

    @classmethod
    def of_inputs(cls, model: Any, inputs: Any) -> "Beginning":
        """The beginning of some inputs that are ready for a model."""
        layout = first_pass(model, inputs).layout
        assert layout is not None
        return cls.of(entries_of(inputs, model.cfg.n_ctx), layout)

    def has_pictures_of(self, other: "Beginning") -> bool:
        """Whether the pictures of another are these, bit for bit."""
        if self.pixels is None or other.pixels is None or self.pixels.shape != other.pixels.shape:
            return False
        return _is_same(self.pixels, other.pixels)

    def n_alike(self, other: "Beginning") -> int:
        """The positions from the first that are the same in both, pictures included."""
        n = min(len(self.tokens), len(other.tokens))
        differs = (self.tokens[:n] != other.tokens[:n].to(self.tokens.device)).nonzero()
        n = int(differs[0]) if len(differs) else n
        for image, start in enumerate(other.image_starts):
            if start < n and not self._has_picture(image, other):
                return start
        return n

    def _has_picture(self, image: int, other: "Beginning") -> bool:
        if self.pixels is None or other.pixels is None or image >= len(self.pixels):
            return False
        return _is_same(self.pixels[image], other.pixels[image])


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal bit for bit; that they are one object is seen without a look."""
    if one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride():
        return one.dtype == other.dtype
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other.to(one.device))

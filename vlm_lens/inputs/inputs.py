"""What a model is given: tokens, pixels, and the layout that says what they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from vlm_lens.layout import TokenLayout


@dataclass(frozen=True, eq=False)
class Inputs(Mapping[str, Tensor]):
    """A batch ready for the model, and a mapping of what a transformers model takes.

    `model(**inputs)` works with a transformers model; `inputs["input_ids"]` and
    `inputs.input_ids` are the same.

    Attributes:
        input_ids: the tokens, image markers repeated once per image position, padded on the left.
        attention_mask: 1 where a token is, 0 where padding is.
        pixel_values: the processed pictures, in the order of rows and markers; None without any.
        layout: the role of each position.
        images: the pictures as opened; () where only their pixels are known.
        prompts: each row's prompt as written, one marker per image; () where it is unknown.
    """

    input_ids: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    pixel_values: Float[Tensor, "image channel height width"] | None
    layout: TokenLayout
    images: tuple[Image.Image, ...] = ()
    prompts: tuple[str, ...] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def shape(self) -> torch.Size:
        """[batch, pos]."""
        return self.input_ids.shape

    @property
    def n_rows(self) -> int:
        """The rows of the batch."""
        return self.input_ids.shape[0]

    @property
    def device(self) -> torch.device:
        return self.input_ids.device

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names():
            raise KeyError(name)
        value: Tensor = getattr(self, name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        """The number of entries as a mapping; the batch has `n_rows`."""
        return len(self._names())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Inputs":
        """The same inputs elsewhere; `dtype` is the pixels', tokens stay integers."""
        pixels = self.pixel_values
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            pixel_values=None if pixels is None else pixels.to(device=device, dtype=dtype),
        )

    def continued(self, tokens: Int[Tensor, " batch"]) -> "Inputs":
        """The same inputs with one generated token more in every row."""
        new = tokens.to(self.device)[:, None]
        return replace(
            self,
            input_ids=torch.cat((self.input_ids, new), dim=1),
            attention_mask=torch.cat((self.attention_mask, torch.ones_like(new)), dim=1),
            layout=self.layout.extended(1),
        )

    def row(self, row: int) -> "Inputs":
        """One row alone, without its padding."""
        layout = self.layout.row(row)
        row %= self.n_rows
        real = self.layout.positions("all", row)
        columns = slice(real[0], real[-1] + 1) if real else slice(0, 0)
        first = sum(len(spans) for spans in self.layout.images[:row])
        images = slice(first, first + len(self.layout.images[row]))
        has_images = images.stop > images.start and self.pixel_values is not None
        return Inputs(
            self.input_ids[row : row + 1, columns],
            self.attention_mask[row : row + 1, columns],
            self.pixel_values[images] if has_images and self.pixel_values is not None else None,
            layout,
            self.images[images],
            self.prompts[row : row + 1],
        )

    def _names(self) -> tuple[str, ...]:
        names = ("input_ids", "attention_mask")
        return names if self.pixel_values is None else (*names, "pixel_values")

    def __repr__(self) -> str:
        pixels = None if self.pixel_values is None else list(self.pixel_values.shape)
        return f"Inputs(input_ids={list(self.shape)}, pixel_values={pixels}, {self.layout!r})"

    def _repr_html_(self) -> str:
        from vlm_lens.inputs.drawing import inputs_html

        return inputs_html(self)

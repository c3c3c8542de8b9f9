"""What CLIP is given: pictures, perhaps texts, and where each picture's patches came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from vlm_lens.errors import PositionError
from vlm_lens.inputs.pictures import ProcessedPictures
from vlm_lens.layout import ImageSpan, PictureLayout, Region
from vlm_lens.layout.masks import covered_patches, patches_at
from vlm_lens.layout.pictures import Picture


@dataclass(frozen=True, eq=False)
class ClipInputs(Mapping[str, Tensor]):
    """Pictures and texts ready for CLIP, and a mapping of what a `transformers` CLIP takes.

    Attributes:
        pixel_values: the processed pictures.
        pictures: what the positions of each picture are, for regions; row i is picture i.
        input_ids: the tokens of the texts; None without texts.
        attention_mask: 1 where a token is, 0 where padding is; None without texts.
        images: the pictures as opened.
        texts: as written.
    """

    pixel_values: Float[Tensor, "image channel height width"]
    pictures: PictureLayout
    input_ids: Int[Tensor, "text pos"] | None = None
    attention_mask: Int[Tensor, "text pos"] | None = None
    images: tuple[Image.Image, ...] = ()
    texts: tuple[str, ...] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @classmethod
    def of(
        cls,
        processed: ProcessedPictures,
        images: Sequence[Image.Image],
        tokens: Mapping[str, Tensor] | None = None,
        texts: Sequence[str] = (),
    ) -> "ClipInputs":
        """Inputs from processed pictures and the tokens of the texts."""
        spans = [processed.span(image, 0, 0) for image in range(len(images))]
        pictures = PictureLayout(tuple(Picture(span, row) for row, span in enumerate(spans)), processed.grids[0])
        ids, mask = (None, None) if tokens is None else (tokens["input_ids"], tokens["attention_mask"])
        return cls(processed.pixel_values, pictures, ids, mask, tuple(images), tuple(texts))

    @property
    def n_images(self) -> int:
        """The pictures."""
        return len(self.pixel_values)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names():
            raise KeyError(name)
        value: Tensor = getattr(self, name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        """The number of entries as a mapping; there are `n_images` pictures."""
        return len(self._names())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "ClipInputs":
        """The same inputs elsewhere; `dtype` is the pixels', tokens stay integers."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(device=device, dtype=dtype),
            input_ids=None if self.input_ids is None else self.input_ids.to(device),
            attention_mask=None if self.attention_mask is None else self.attention_mask.to(device),
        )

    def image_span(self, image: int = 0) -> ImageSpan:
        """The patch grid and the pixel geometry of a picture.

        Raises:
            PositionError: a picture that is not there.
        """
        span = self.pictures.pictures[self._image(image)].span
        assert span is not None
        return span

    def region(self, mask: object, image: int = 0, threshold: float | int = 0.0) -> Region:
        """The patches that saw the masked pixels of an original picture; see `TokenLayout.region`.

        Args:
            mask: booleans [height width] at the picture's own size.
            image: which picture.
            threshold: a patch belongs if more than this share of its area is masked.

        Raises:
            InputError: a mask of another size, an empty one, or one that the crop cut away.
        """
        span = self.image_span(image)
        return Region(span, self._image(image), covered_patches(span, mask, threshold))

    def patches(
        self,
        rows: int | slice | Sequence[int] | Tensor | np.ndarray | None = None,
        cols: int | slice | Sequence[int] | None = None,
        *,
        image: int = 0,
    ) -> Region:
        """Patches by their place in the grid: rows and columns, or one boolean patch mask."""
        span = self.image_span(image)
        return Region(span, self._image(image), patches_at(span, rows, cols))

    def _image(self, image: int) -> int:
        if not -self.n_images <= image < self.n_images:
            raise PositionError("Picture does not exist", f"one of {self.n_images} pictures", f"image={image}")
        return image % self.n_images

    def _names(self) -> tuple[str, ...]:
        return ("pixel_values",) if self.input_ids is None else ("pixel_values", "input_ids", "attention_mask")

    def __repr__(self) -> str:
        return f"ClipInputs({self.n_images} pictures of {self.pictures.grid.shape} patches, {len(self.texts)} texts)"

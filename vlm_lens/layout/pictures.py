"""The layout of a batch of pictures, as a vision tower or a projector has them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.errors import PositionError
from vlm_lens.layout.image_span import ImageSpan
from vlm_lens.layout.patch_grid import PatchGrid
from vlm_lens.layout.regions import Region
from vlm_lens.layout.roles import DERIVED_NAMES, PICTURE_NAMES, ROLES
from vlm_lens.layout.selectors import Selector, resolve, unknown_name
from vlm_lens.layout.tokens import TokenLayout


@dataclass(frozen=True)
class Picture:
    """One picture of a batch: the row and the place in that row where the decoder sees it.

    Attributes:
        span: where it stands in the decoder's sequence; None where that is unknown (pixels alone).
        row: the row of the decoder's batch.
        image: which image of that row.
    """

    span: ImageSpan | None
    row: int = 0
    image: int = 0

    @property
    def label(self) -> str:
        return f"row {self.row}, image {self.image}"


@dataclass(frozen=True, eq=False)
class PictureLayout:
    """For every picture of a batch what its positions are: class tokens first, then patches row by row.

    Attributes:
        pictures: in the order of the batch.
        grid: the patches of each.
        n_class_tokens: positions before the first patch.
    """

    pictures: tuple[Picture, ...]
    grid: PatchGrid
    n_class_tokens: int = 0

    @classmethod
    def of(cls, layout: TokenLayout, n_class_tokens: int) -> "PictureLayout | None":
        """The pictures of a decoder's batch, in its order; None for text alone."""
        pictures = tuple(
            Picture(span, row, image) for row, spans in enumerate(layout.images) for image, span in enumerate(spans)
        )
        if not pictures:
            return None
        grid = layout.images[pictures[0].row][pictures[0].image].grid
        return cls(pictures, grid, n_class_tokens)

    @classmethod
    def unknown(cls, n_pictures: int, grid: PatchGrid, n_class_tokens: int) -> "PictureLayout":
        """Pictures that came as pixels alone, numbered by row."""
        return cls(tuple(Picture(None, row) for row in range(n_pictures)), grid, n_class_tokens)

    def with_class_tokens(self, n_class_tokens: int) -> "PictureLayout":
        """The same pictures in sequences with another number of class tokens."""
        return self if n_class_tokens == self.n_class_tokens else replace(self, n_class_tokens=n_class_tokens)

    @property
    def n_rows(self) -> int:
        """The pictures of the batch."""
        return len(self.pictures)

    @property
    def n_positions(self) -> int:
        """The positions of each, class tokens included."""
        return self.n_class_tokens + self.grid.n_patches

    @property
    def shape(self) -> tuple[int, int]:
        """(picture, pos)."""
        return self.n_rows, self.n_positions

    def positions(self, selector: Selector, row: int = 0) -> tuple[int, ...]:
        """The positions of a picture that a selector means, ascending, in the tower's own sequence.

        Names are `cls`, `patches` (or `image`), `last_row` (of patches) and `all`. A region of the decoder's layout
        is the same patches here. Numbers count the picture's own positions, not the decoder's.

        Raises:
            PositionError: an unknown name, a position that does not exist, a region of another picture.
        """
        return tuple(sorted(self._resolve(selector, row)))

    def mask(self, selector: Selector) -> Bool[Tensor, "image pos"]:
        """True at the positions that a selector means, in every picture; a region counts in its own alone."""
        mask = torch.zeros(self.shape, dtype=torch.bool)
        for row in range(self.n_rows):
            mask[row, list(self._resolve(selector, row))] = True
        return mask

    @cached_property
    def _place_of(self) -> dict[tuple[int, int], int]:
        return {(picture.row, picture.image): place for place, picture in enumerate(self.pictures)}

    def _resolve(self, selector: Selector, row: int) -> set[int]:
        return resolve(
            selector,
            row,
            n_rows=self.n_rows,
            n_positions=self.n_positions,
            n_prompt=self.n_positions,
            n_planned=self.n_positions,
            name_to_positions=self._named,
            region_to_positions=lambda region: self._in_region(region, row),
            counting=self._counting,
        )

    @property
    def _counting(self) -> str:
        """How numbers count here."""
        tokens = {0: "", 1: "a class token and "}.get(self.n_class_tokens, f"{self.n_class_tokens} class tokens and ")
        return (
            f"Numbers count the picture's own positions here: {tokens}{self.grid.n_patches} patches, wherever the "
            "decoder has them. 'image' or a region (layout.region, layout.patches) means the same patches everywhere."
        )

    def _named(self, name: str) -> Iterable[int]:
        everything = range(self.n_positions)
        match name:
            case "cls":
                return everything[: self.n_class_tokens]
            case "patches" | "image":
                return everything[self.n_class_tokens :]
            case "last_row":
                return everything[-self.grid.n_cols :]
            case "all":
                return everything
        words = "An object in the picture is layout.region(mask)."
        raise unknown_name(name, PICTURE_NAMES, (*ROLES, *DERIVED_NAMES), "positions of the decoder", otherwise=words)

    def _in_region(self, region: Region, row: int) -> Iterable[int]:
        place = self._place_of.get((region.row, region.image))
        picture = None if place is None else self.pictures[place]
        is_known = picture is not None and (picture.span is None or picture.span == region.span)
        if not is_known or region.span.grid != self.grid:
            raise PositionError(
                "Region belongs to another picture",
                f"a region of {'; '.join(picture.label for picture in self.pictures[:8])}, "
                f"{self.grid.n_rows} x {self.grid.n_cols} patches",
                f"{region!r} of picture {region.span.fingerprint or '?'} at position {region.span.start}",
                "Make it from this layout, or move it with region.on(layout.image_span(), row=..., image=...).",
            )
        return [self.n_class_tokens + patch for patch in region.patch_ids] if place == row else ()

    def __repr__(self) -> str:
        return f"PictureLayout({self.n_rows} pictures of {self.n_class_tokens} + {self.grid.shape} positions)"

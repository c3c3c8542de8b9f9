"""Sets of image patches, with set algebra, tied to the picture that they are part of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.errors import PositionError
from vlm_lens.layout.image_span import ImageSpan


@dataclass(frozen=True)
class Region:
    """Some patches of one image in one row of a batch.

    `a | b`, `a & b`, `a - b` and `~a` stay within the image's patches; `~a` is every other patch
    of the same image. Regions of different pictures, rows or places do not mix.

    Attributes:
        span: the image in its sequence.
        row: the row of the batch.
        patch_ids: the patches, numbered row by row from the top left.
        image: which image of the row, counted from 0.
    """

    span: ImageSpan
    row: int
    patch_ids: frozenset[int]
    image: int = 0

    def __post_init__(self) -> None:
        outside = [patch for patch in self.patch_ids if not 0 <= patch < self.span.grid.n_patches]
        if outside:
            raise PositionError(
                "Region leaves its image",
                f"patches from 0 to {self.span.grid.n_patches - 1}",
                sorted(outside)[:8],
            )

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions in the padded row, ascending."""
        first = self.span.patch_positions.start
        return tuple(first + patch for patch in sorted(self.patch_ids))

    @property
    def patches(self) -> Bool[Tensor, "patch_row patch_col"]:
        """True at the region's patches."""
        return self.span.grid.patch_mask(self.patch_ids)

    def vision_positions(self, has_class_token: bool) -> tuple[int, ...]:
        """The positions in the vision tower's own sequence, where a class token comes first."""
        return tuple(patch + int(has_class_token) for patch in sorted(self.patch_ids))

    def dilate(self, n: int = 1) -> "Region":
        """The region grown by `n` patches over 8 neighbours; it stops at the image's border."""
        grown = self.span.grid.dilate(self.patches, n)
        return self._with(grown.flatten().nonzero().flatten().tolist())

    def sample(self, n: int, seed: int = 0) -> "Region":
        """As many of its patches, drawn at random without replacement: `(~cat).sample(len(cat), seed=3)`.

        Raises:
            PositionError: more patches than it has.
        """
        if not 0 <= n <= len(self):
            raise PositionError("Sample of a region", f"0 to {len(self)} patches, as {self!r} has", n)
        return self._with(Random(seed).sample(sorted(self.patch_ids), n))

    def on(self, span: ImageSpan, *, row: int = 0, image: int = 0) -> "Region":
        """The same patches of another image of the same grid: another prompt, another picture."""
        if span.grid != self.span.grid:
            raise PositionError(
                "Region does not fit the other image",
                f"a grid of {self.span.grid.n_rows} x {self.span.grid.n_cols} patches",
                f"{span.grid.n_rows} x {span.grid.n_cols}",
            )
        return Region(span, row, self.patch_ids, image)

    def __or__(self, other: "Region") -> "Region":
        return self._with(self.patch_ids | self._same_image(other))

    def __and__(self, other: "Region") -> "Region":
        return self._with(self.patch_ids & self._same_image(other))

    def __sub__(self, other: "Region") -> "Region":
        return self._with(self.patch_ids - self._same_image(other))

    def __invert__(self) -> "Region":
        return self._with(set(range(self.span.grid.n_patches)) - self.patch_ids)

    def __le__(self, other: "Region") -> bool:
        """Whether every patch is also one of the other region's."""
        return self.patch_ids <= self._same_image(other)

    def __len__(self) -> int:
        return len(self.patch_ids)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.patch_ids))

    def __contains__(self, patch: object) -> bool:
        return patch in self.patch_ids

    def __repr__(self) -> str:
        grid = self.span.grid
        return f"Region({len(self)} of {grid.n_rows} x {grid.n_cols} patches, row={self.row}, image={self.image})"

    def _repr_html_(self) -> str:
        from vlm_lens.layout.drawing import region_html

        return region_html(self.patches, repr(self))

    def _with(self, patch_ids: Iterable[int]) -> "Region":
        return replace(self, patch_ids=frozenset(patch_ids))

    def _same_image(self, other: "Region") -> frozenset[int]:
        if not isinstance(other, Region):
            raise PositionError(
                "Region algebra failed", "another Region", type(other).__name__,
                "Positions and names are combined by passing them as a list.",
            )  # fmt: skip
        if (self.span, self.row) != (other.span, other.row):
            raise PositionError(
                "Regions of different images do not mix",
                f"row {self.row}, image {self.image}, picture "
                f"{self.span.fingerprint or '?'} at position {self.span.start}",
                f"row {other.row}, image {other.image}, picture "
                f"{other.span.fingerprint or '?'} at position {other.span.start}",
                "Move one with region.on(span, row=...).",
            )
        return other.patch_ids

"""Where one image stands in the sequence, and which picture it is."""

from dataclasses import dataclass

from vlm_lens.layout.patch_grid import PatchGrid
from vlm_lens.layout.pixel_geometry import PixelGeometry, Size


@dataclass(frozen=True)
class ImageSpan:
    """The consecutive positions of one image in one row of the batch.

    Attributes:
        start: the first position, absolute in the padded row.
        grid: the patches, row by row.
        geometry: from the original's pixels to the model's; None where the original is unknown.
        n_class_tokens: positions before the first patch (a class token that was kept).
        fingerprint: tells one picture from another.
    """

    start: int
    grid: PatchGrid
    geometry: PixelGeometry | None = None
    n_class_tokens: int = 0
    fingerprint: str = ""

    @property
    def n_positions(self) -> int:
        return self.n_class_tokens + self.grid.n_patches

    @property
    def stop(self) -> int:
        """One past the last position."""
        return self.start + self.n_positions

    @property
    def positions(self) -> range:
        """All positions, the class token's included."""
        return range(self.start, self.stop)

    @property
    def patch_positions(self) -> range:
        """The positions of the patches, row by row."""
        return range(self.start + self.n_class_tokens, self.stop)

    @property
    def original_size(self) -> Size | None:
        """(height, width) of the picture before any crop or resize."""
        return None if self.geometry is None else self.geometry.original

"""Where each pixel that the model sees came from: the resizes, crops and pads as a value."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from vlm_lens.errors import InputError
from vlm_lens.layout.axis_map import AxisMap, clip_edges, sum_between
from vlm_lens.layout.patch_grid import PatchGrid

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Resize:
    """The picture is resized to exactly `height` x `width`."""

    height: int
    width: int


@dataclass(frozen=True)
class Window:
    """A window of `height` x `width` is cut at (`top`, `left`); what lies outside is padding.

    A crop has the window inside the picture, a pad has the picture inside the window, and a
    centre crop of a picture that is long one way and short the other is both.
    """

    top: int
    left: int
    height: int
    width: int


Step = Resize | Window


@dataclass(frozen=True)
class PixelGeometry:
    """The ordered steps from the original picture (height, width) to the model's pixels.

    `original` is the picture as one sees it: after its EXIF orientation was applied.
    """

    original: Size
    steps: tuple[Step, ...] = field(default=())

    def __post_init__(self) -> None:
        sizes = [self.original, *((step.height, step.width) for step in self.steps)]
        for size in sizes:
            if min(size) < 1:
                raise InputError(
                    "Picture has no pixels left", "height and width of at least 1", size,
                    f"It began as {self.original[0]} x {self.original[1]}.",
                )  # fmt: skip

    @property
    def model_size(self) -> Size:
        """(height, width) of what enters the vision tower."""
        if not self.steps:
            return self.original
        return self.steps[-1].height, self.steps[-1].width

    @property
    def largest_size(self) -> Size:
        """The size on the way that has the most pixels."""
        sizes = [self.original, *((step.height, step.width) for step in self.steps)]
        return max(sizes, key=lambda size: size[0] * size[1])

    @property
    def is_padded_to_square(self) -> bool | None:
        """Whether the picture was made a square by padding before all else; None where it was one."""
        height, width = self.original
        if height == width:
            return None
        first, side = self.steps[0] if self.steps else None, max(height, width)
        if not isinstance(first, Window):
            return False
        return (first.height, first.width) == (side, side) and first.top <= 0 and first.left <= 0

    @cached_property
    def _maps(self) -> tuple[AxisMap, AxisMap]:
        rows, columns = AxisMap(), AxisMap()
        height, width = self.original
        for step in self.steps:
            if isinstance(step, Resize):
                rows = rows.resized(height, step.height)
                columns = columns.resized(width, step.width)
            else:
                rows, columns = rows.windowed(step.top), columns.windowed(step.left)
            height, width = step.height, step.width
        return rows, columns

    @property
    def rows(self) -> AxisMap:
        """Model rows back to original rows."""
        return self._maps[0]

    @property
    def columns(self) -> AxisMap:
        """Model columns back to original columns."""
        return self._maps[1]

    def push_mask(self, mask: Bool[np.ndarray, "original_height original_width"]) -> Float[np.ndarray, "height width"]:
        """The share of each model pixel's area that lies in the mask, 0 to 1.

        Raises:
            InputError: the mask has another size than the picture.
        """
        height, width = self.model_size
        return self._coverage(mask, list(range(height + 1)), list(range(width + 1)))

    def cover_patches(
        self, mask: Bool[np.ndarray, "original_height original_width"], grid: PatchGrid
    ) -> Float[np.ndarray, "patch_row patch_col"]:
        """The share of each patch's area that lies in the mask, 0 to 1; padding is never in it.

        Exactly 0 where a patch saw no pixel of the mask.
        """
        return self._coverage(mask, grid.row_edges(), grid.column_edges())

    def patch_boxes(self, grid: PatchGrid) -> Float[np.ndarray, "patch_row patch_col 4"]:
        """The box of original pixels that each patch saw, clipped: (top, left, bottom, right).

        Units are original pixels, bottom and right excluded. A patch that saw padding alone has
        an empty box on the picture's border.
        """
        rows = clip_edges(self.rows.to_original(grid.row_edges()), self.original[0])
        columns = clip_edges(self.columns.to_original(grid.column_edges()), self.original[1])
        y, x = np.array(rows, dtype=np.float64), np.array(columns, dtype=np.float64)
        boxes = np.empty((*grid.shape, 4))
        boxes[..., 0], boxes[..., 2] = y[:-1, None], y[1:, None]
        boxes[..., 1], boxes[..., 3] = x[None, :-1], x[None, 1:]
        return boxes

    def to_model(self, y: float | int, x: float | int) -> tuple[float, float]:
        """Where a point of the original picture lies in model pixels (outside: cropped away)."""
        rows, columns = self._maps
        return (
            (y - float(rows.offset)) / float(rows.scale),
            (x - float(columns.offset)) / float(columns.scale),
        )

    def _coverage(
        self,
        mask: Bool[np.ndarray, "original_height original_width"],
        row_edges: list[int],
        column_edges: list[int],
    ) -> Float[np.ndarray, "rows columns"]:
        if mask.shape != self.original:
            raise InputError(
                "Mask does not match the picture",
                f"{self.original[0]} x {self.original[1]} (height x width of the original)",
                " x ".join(map(str, mask.shape)),
                "Pass the mask at the picture's own size; it is cropped and resized for you.",
            )
        rows, columns = self._maps
        y = clip_edges(rows.to_original(row_edges), self.original[0])
        x = clip_edges(columns.to_original(column_edges), self.original[1])
        # Only the pixels between the outermost edges can count: a small crop of a large picture.
        top, left = int(y[0]), int(x[0])
        bottom, right = max(-int(-y[-1] // 1), top + 1), max(-int(-x[-1] // 1), left + 1)
        seen = mask[top:bottom, left:right].astype(np.float64)
        if not seen.size:
            return np.zeros((len(row_edges) - 1, len(column_edges) - 1))
        by_row = sum_between(seen, [edge - top for edge in y])
        summed = sum_between(np.ascontiguousarray(by_row.T), [edge - left for edge in x]).T
        heights = np.diff(np.array(row_edges)) * float(rows.scale)
        widths = np.diff(np.array(column_edges)) * float(columns.scale)
        share = summed / (heights[:, None] * widths[None, :])
        # Rounding to 12 digits makes wholes and halves exact; the smallest overlap stays above 0.
        rounded = np.round(share, 12)
        return np.where((share > 0) & (rounded == 0), share, rounded)

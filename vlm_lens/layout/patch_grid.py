"""The grid of patches that a vision tower cuts a picture into."""

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Shaped
from torch import Tensor
from torch.nn.functional import max_pool2d

from vlm_lens.errors import InputError


@dataclass(frozen=True)
class PatchGrid:
    """Rows and columns of patches over the pixels that the model sees (after crop, resize, pad).

    Patches are numbered row by row from the top left, as the tower's sequence has them. Sizes are
    in model pixels.
    """

    n_rows: int
    n_cols: int
    patch_height: int
    patch_width: int

    def __post_init__(self) -> None:
        sizes = (self.n_rows, self.n_cols, self.patch_height, self.patch_width)
        if min(sizes) < 1:
            raise InputError("Patch grid is empty", "every count and size to be at least 1", sizes)

    @classmethod
    def over(cls, height: int, width: int, patch_size: int | tuple[int, int]) -> "PatchGrid":
        """The grid over a picture of `height` x `width` model pixels; a remainder is not seen."""
        patch_height, patch_width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        return cls(height // patch_height, width // patch_width, patch_height, patch_width)

    @property
    def n_patches(self) -> int:
        return self.n_rows * self.n_cols

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.n_rows, self.n_cols

    @property
    def height(self) -> int:
        """Model pixels covered from top to bottom."""
        return self.n_rows * self.patch_height

    @property
    def width(self) -> int:
        """Model pixels covered from left to right."""
        return self.n_cols * self.patch_width

    def row_edges(self) -> list[int]:
        """The `n_rows + 1` horizontal boundaries of the patches, in model pixels."""
        return [row * self.patch_height for row in range(self.n_rows + 1)]

    def column_edges(self) -> list[int]:
        """The `n_cols + 1` vertical boundaries of the patches, in model pixels."""
        return [column * self.patch_width for column in range(self.n_cols + 1)]

    def patch_at(self, y: float | int, x: float | int) -> int:
        """The patch that holds the model pixel at height `y` and width `x` (from the top left)."""
        if not (0 <= y < self.height and 0 <= x < self.width):
            raise InputError(
                "Pixel lies outside the patch grid",
                f"0 <= y < {self.height} and 0 <= x < {self.width}",
                (y, x),
            )
        return int(y // self.patch_height) * self.n_cols + int(x // self.patch_width)

    def box(self, patch: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of a patch in model pixels; bottom and right excluded."""
        if not 0 <= patch < self.n_patches:
            raise InputError("Patch does not exist", f"0 <= patch < {self.n_patches}", patch)
        row, column = divmod(patch, self.n_cols)
        top, left = row * self.patch_height, column * self.patch_width
        return top, left, top + self.patch_height, left + self.patch_width

    def to_pixels(self, values: Shaped[Tensor, "patch_row patch_col"]) -> Shaped[Tensor, "height width"]:
        """Each patch's value repeated over its model pixels, as a map to lay over the picture."""
        return repeat(
            values,
            "patch_row patch_col -> (patch_row height) (patch_col width)",
            height=self.patch_height,
            width=self.patch_width,
        )

    def dilate(self, patches: Bool[Tensor, "patch_row patch_col"], n: int = 1) -> Bool[Tensor, "patch_row patch_col"]:
        """The patches within `n` steps of a set, a step going to any of the 8 neighbours."""
        if n < 0:
            raise InputError("Dilation failed", "n to be 0 or more", n, "Regions only grow.")
        if n == 0:
            return patches
        # The square of side 2n + 1 is n repeated 3 x 3 squares; the grid's border is not wrapped.
        reach = min(n, max(self.shape))
        window = 2 * reach + 1
        grown = max_pool2d(patches[None, None].float(), window, stride=1, padding=reach)
        return grown[0, 0] > 0

    def patch_mask(self, patches: "list[int] | tuple[int, ...] | frozenset[int]") -> Tensor:
        """A boolean [patch_row patch_col] that is True at the numbered patches."""
        mask = torch.zeros(self.n_patches, dtype=torch.bool)
        if patches:
            mask[sorted(patches)] = True
        return mask.view(self.shape)

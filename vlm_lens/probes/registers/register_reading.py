"""What `RegisterTokens` found: the norm of every patch, and the region of those that stand out."""

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import PositionError
from vlm_lens.layout import Region
from vlm_lens.plotting.norm_map import norm_map
from vlm_lens.plotting.seen_picture import patch_picture

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class RegisterReading:
    """Norms and register tokens, picture by picture.

    Attributes:
        norms: the length of each patch's vector.
        thresholds: for each picture, what a register token's norm exceeds.
        regions: for each picture its register tokens, perhaps none; together they are a selector for a whole batch,
            in the decoder and in the vision tower.
        n_std: how many standard deviations the threshold lies above the mean.
        hook: where the norms were read.
        images: the pictures as opened, where they are known.
    """

    norms: Float[Tensor, "image patch_row patch_col"]
    thresholds: Float[Tensor, " image"]
    regions: tuple[Region, ...]
    n_std: float
    hook: str
    images: tuple[Any, ...] = ()

    def region(self, image: int = 0, row: int | None = None) -> Region:
        """The register tokens of a picture of a row; None takes the first row.

        Raises:
            PositionError: the row has no such image.
        """
        return self.regions[self._number(image, row)]

    def to_dataframe(self) -> pd.DataFrame:
        """One row a patch: row, image, patch_row, patch_col, norm, threshold, is_register."""
        number, patch_row, patch_col = (axis.flatten() for axis in np.indices(self.norms.shape))
        return pd.DataFrame(
            {
                "row": np.asarray([region.row for region in self.regions])[number],
                "image": np.asarray([region.image for region in self.regions])[number],
                "patch_row": patch_row,
                "patch_col": patch_col,
                "norm": self.norms.flatten().numpy(),
                "threshold": self.thresholds.numpy()[number],
                "is_register": np.stack([region.patches.numpy() for region in self.regions]).flatten(),
            }
        )

    def row(self, row: int) -> "RegisterReading":
        """One row of the batch alone; its number stays.

        Raises:
            PositionError: a row without pictures.
        """
        kept = [number for number, region in enumerate(self.regions) if region.row == row]
        if not kept:
            known = ", ".join(map(str, dict.fromkeys(region.row for region in self.regions)))
            raise PositionError("Row has no pictures", f"one of {known}", f"row={row}")
        images = tuple(self.images[number] for number in kept) if self.images else ()
        regions = tuple(self.regions[number] for number in kept)
        return replace(self, norms=self.norms[kept], thresholds=self.thresholds[kept], regions=regions, images=images)

    def plot(self, image: int = 0, row: int | None = None, *, region: Region | None = None) -> "go.Figure":
        """The norms over a picture, its register tokens outlined.

        Args:
            image: which image of the row.
            row: the row of the batch; None takes the first.
            region: patches to outline besides, as those of an object.

        Raises:
            PositionError: the row has no such image, or a region of another picture.
        """
        number = self._number(image, row)
        span = self.regions[number].span
        picture = self.images[number] if number < len(self.images) else None
        return norm_map(
            patch_picture(span, picture, region),
            self.norms[number].double().numpy(),
            float(self.thresholds[number]),
        )

    def __repr__(self) -> str:
        counts = ", ".join(str(len(region)) for region in self.regions[:8])
        more = ", ..." if len(self.regions) > 8 else ""
        return f"RegisterReading({self.hook}, {self.n_std:g} standard deviations: {counts}{more} register tokens)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{region.row}</td><td>{region.image}</td><td>{len(region)}</td><td>{threshold:.3g}</td></tr>"
            for region, threshold in zip(self.regions, self.thresholds.tolist(), strict=True)
        )
        head = "<tr><th>row</th><th>image</th><th>register tokens</th><th>threshold</th></tr>"
        return f"<b>{escape(repr(self))}</b><table>{head}{rows}</table>"

    def _number(self, image: int, row: int | None) -> int:
        row = self.regions[0].row if row is None else row
        for number, region in enumerate(self.regions):
            if (region.row, region.image) == (row, image):
                return number
        raise PositionError("Picture does not exist", f"one of {len(self.regions)}", f"image={image} of row={row}")

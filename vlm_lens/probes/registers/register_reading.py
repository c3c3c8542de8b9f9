"""What `RegisterTokens` found: the norm of every patch, and the region of those that stand out."""

from dataclasses import dataclass
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

    def region(self, image: int = 0, row: int = 0) -> Region:
        """The register tokens of a picture.

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

    def plot(self, image: int = 0, row: int = 0) -> "go.Figure":
        """The norms over a picture, its register tokens outlined."""
        number = self._number(image, row)
        region = self.regions[number]
        picture = self.images[number] if number < len(self.images) else None
        return norm_map(
            patch_picture(region.span, picture, region),
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

    def _number(self, image: int, row: int) -> int:
        for number, region in enumerate(self.regions):
            if (region.row, region.image) == (row, image):
                return number
        raise PositionError("Picture does not exist", f"one of {len(self.regions)}", f"image={image} of row={row}")

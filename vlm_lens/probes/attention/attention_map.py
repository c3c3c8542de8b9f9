"""Attention over the patches of one picture, layer by layer: its peak, and how far that lies from a region."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.layout import ImageSpan, Region
from vlm_lens.plotting.attention_maps import attention_maps
from vlm_lens.plotting.seen_picture import check_is_of, patch_picture

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMap:
    """What each patch gets.

    Attributes:
        values: shares of all attention; a layer sums to at most 1.
        layers: the name of each layer.
        span: the image.
        row, image: which image it is.
        picture: as opened, or None.
        prefix: what a figure says before a layer's name.
    """

    values: Float[Tensor, "layer patch_row patch_col"]
    layers: tuple[str, ...]
    span: ImageSpan
    row: int = 0
    image: int = 0
    picture: Any = None
    prefix: str = "attention of layer "

    def averaged(self, layers: Iterable[int] | None = None) -> "AttentionMap":
        """One map: the mean over some of the layers; None for all.

        Raises:
            HookError: a layer that was not read.
        """
        wanted = [*self.layers] if layers is None else [str(layer) for layer in layers]
        if not wanted or not set(wanted) <= set(self.layers):
            raise HookError("Layers of a map", f"some of {', '.join(self.layers)}", ", ".join(wanted) or "none")
        chosen = [self.layers.index(layer) for layer in wanted]
        values = reduce(self.values[chosen], "layer row col -> 1 row col", "mean")
        return replace(self, values=values, layers=(f"mean of {', '.join(wanted)}",))

    @property
    def peaks(self) -> Int[Tensor, "layer 2"]:
        """The row and column of the patch that gets most; the first of several."""
        highest = rearrange(self.values, "layer row col -> layer (row col)").argmax(dim=-1)
        n_cols = self.span.grid.n_cols
        return torch.stack([highest // n_cols, highest % n_cols], dim=-1)

    def distance_to(self, region: Any) -> Int[Tensor, " layer"]:
        """How many patches the peak lies from a `Region`: 0 inside, 1 for a neighbour over 8 sides (Chebyshev).

        Raises:
            PositionError: a region of another picture, or a name.
            EmptySelectionError: an empty region, which is nowhere.
        """
        check_is_of(region, self.span)
        if not len(region):
            raise EmptySelectionError("Distance to a region", "a region with patches", "an empty one")
        places = region.patches.nonzero()
        steps = (rearrange(self.peaks, "layer side -> layer 1 side") - places).abs()
        return reduce(steps.amax(dim=-1), "layer patch -> layer", "min")

    def to_dataframe(self) -> pd.DataFrame:
        """One row a patch: layer, patch_row, patch_col, attention."""
        layer, row, col = (axis.flatten() for axis in np.indices(self.values.shape))
        return pd.DataFrame(
            {
                "layer": np.asarray(self.layers, dtype=object)[layer],
                "patch_row": row,
                "patch_col": col,
                "attention": self.values.flatten().numpy(),
            }
        )

    def plot(self, region: Region | None = None) -> "go.Figure":
        """Heat maps over the picture with a slider over layers, a region outlined.

        Raises:
            PositionError: a region of another picture.
        """
        under = patch_picture(self.span, self.picture, region)
        return attention_maps(under, self.values.double().numpy(), self.layers, prefix=self.prefix)

    def __repr__(self) -> str:
        n_rows, n_cols = self.span.grid.shape
        where = f"row={self.row}, image={self.image}"
        return f"AttentionMap({len(self.layers)} layers over {n_rows} x {n_cols} patches, {where})"

    def _repr_html_(self) -> str:
        share = reduce(self.values, "layer row col -> layer", "sum")
        peaks = zip(self.layers, self.peaks.tolist(), share.tolist(), strict=True)
        rows = "".join(
            f"<tr><td>{escape(layer)}</td><td>{row}, {col}</td><td>{total:.1%}</td></tr>"
            for layer, (row, col), total in peaks
        )
        head = "<tr><th>layer</th><th>peak at row, column</th><th>whole picture</th></tr>"
        return f"<b>{escape(repr(self))}</b><table>{head}{rows}</table>"

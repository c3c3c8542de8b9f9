"""The picture under a heat map: what the model saw, cell by cell in line with its patches."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, UInt8
from PIL import Image

from vlm_lens.plotting.theme import REGION_COLOUR

LONGEST_SIDE = 720
"""Pictures are drawn at most this many pixels wide or high."""
COARSE_GRID = 16
"""Up to this many rows and columns, the cells of a map are set apart."""
LINE = 2.25
"""The width of a region's outline, in pixels."""


@dataclass(frozen=True, eq=False)
class PatchPicture:
    """A picture that spans exactly the patch grid, and the patches of a region in it.

    In figures made with it, patch (row, column) is the cell centred at x = column, y = row, with y
    downwards.

    Attributes:
        pixels: what the grid covers, cropped and padded as the model saw it, at any resolution.
        n_rows, n_cols: the patch grid.
        region: the patches to outline, or None.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    n_rows: int
    n_cols: int
    region: Bool[np.ndarray, "patch_row patch_col"] | None = None

    def __post_init__(self) -> None:
        assert self.n_rows > 0 and self.n_cols > 0
        assert self.region is None or self.region.shape == (self.n_rows, self.n_cols)

    @cached_property
    def source(self) -> str:
        """The picture as a `data:` address, PNG or JPEG, whichever is smaller."""
        picture = Image.fromarray(self.pixels)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        encoded = []
        for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 90})):
            buffer = io.BytesIO()
            picture.save(buffer, format=kind, **options)
            encoded.append((kind, buffer.getvalue()))
        kind, content = min(encoded, key=lambda pair: len(pair[1]))
        return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"

    @property
    def cell_gap(self) -> float:
        """The gap between the cells of a map, in pixels; a fine grid has none, for it would show as noise."""
        return 0.5 if max(self.n_rows, self.n_cols) <= COARSE_GRID else 0.0

    def lay_under(self, figure: go.Figure, panel: int = 1) -> go.Figure:
        """Puts the picture below the traces of a panel, outlines its region, fixes the axes."""
        number = "" if panel == 1 else str(panel)
        x, y = f"x{number}", f"y{number}"
        figure.add_layout_image(
            source=self.source,
            xref=x,
            yref=y,
            x=-0.5,
            y=-0.5,
            sizex=self.n_cols,
            sizey=self.n_rows,
            xanchor="left",
            yanchor="top",
            sizing="stretch",
            layer="below",
        )
        bare = {
            "showgrid": False,
            "zeroline": False,
            "showline": False,
            "showticklabels": False,
            "constrain": "domain",
            "fixedrange": True,
        }
        figure.layout[f"xaxis{number}"].update(range=[-0.5, self.n_cols - 0.5], **bare)
        figure.layout[f"yaxis{number}"].update(range=[self.n_rows - 0.5, -0.5], scaleanchor=x, **bare)
        if self.region is not None:
            outline(figure, self.region, (("rgba(255, 255, 255, 0.9)", 2 * LINE), (REGION_COLOUR, LINE)), panel)
        return figure


def outline(
    figure: go.Figure,
    region: Bool[np.ndarray, "patch_row patch_col"],
    strokes: Sequence[tuple[str, float]],
    panel: int = 1,
) -> None:
    """Draws the border of a set of patches in a panel, stroke over stroke (colour and width in pixels)."""
    number = "" if panel == 1 else str(panel)
    if region.any():
        path = region_outline(region)
        for colour, width in strokes:
            line = {"color": colour, "width": width}
            figure.add_shape(type="path", path=path, line=line, xref=f"x{number}", yref=f"y{number}")


def region_outline(region: Bool[np.ndarray, "patch_row patch_col"]) -> str:
    """The border of a set of patches as an SVG path: each edge between inside and outside.

    Edges in a line are joined, so that the path stays short.
    """
    padded = np.pad(region, 1)
    segments = []
    # Row r of `across` is the edge above patch row r, for r = 0 .. n_rows.
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    for row, edges in enumerate(across):
        segments += [(start, row, end, row) for start, end in runs(edges)]
    down = (padded[1:-1, 1:] != padded[1:-1, :-1]).T  # the edge left of patch column c, for c = 0 .. n_cols
    for column, edges in enumerate(down):
        segments += [(column, start, column, end) for start, end in runs(edges)]
    return " ".join(f"M {x0 - 0.5:g},{y0 - 0.5:g} L {x1 - 0.5:g},{y1 - 0.5:g}" for x0, y0, x1, y1 in segments)


def runs(edges: Bool[np.ndarray, "length"]) -> list[tuple[int, int]]:
    """The stretches of True, each as (first, one behind the last)."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], edges, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(steps[::2], steps[1::2], strict=True)]

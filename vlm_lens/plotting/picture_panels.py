"""Maps over pictures side by side: a row for each picture, a column for each layer or object."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import HEAT, template

SIDE, WIDTH = 150, 744  # pixels of a panel at most, and of all in a row
GAP = 26  # for the title above it


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture, perhaps with a map over it.

    Attributes:
        picture: what lies below, with the region that is outlined.
        title: above it.
        values: the map; its colours reach from 0 to its largest value. None for the picture alone.
        peak: row and column of a patch that is marked by a cross.
    """

    picture: PatchPicture
    title: str
    values: Float[np.ndarray, "patch_row patch_col"] | None = None
    peak: tuple[int, int] | None = None


def picture_panels(rows: Sequence[Sequence[Panel]]) -> go.Figure:
    """Panels in rows, shorter rows ending early.

    Args:
        rows: at least one, of at least one panel.
    """
    n_rows, n_columns = len(rows), max(map(len, rows))
    titles = [escaped(row[place].title) if place < len(row) else "" for row in rows for place in range(n_columns)]
    side = min(SIDE, WIDTH // n_columns)
    height, width = n_rows * (side + GAP), n_columns * side
    figure = make_subplots(
        n_rows, n_columns, subplot_titles=titles, horizontal_spacing=0.06 / n_columns, vertical_spacing=GAP / height
    )
    for annotation in figure.layout.annotations:
        annotation.font.size = 11
    for number, row in enumerate(rows):
        for place in range(n_columns):
            panel = number * n_columns + place + 1
            if place < len(row):
                _draw(figure, row[place], panel)
            else:
                suffix = "" if panel == 1 else str(panel)
                figure.layout[f"xaxis{suffix}"].visible = figure.layout[f"yaxis{suffix}"].visible = False
    figure.update_layout(
        template=template(), height=height + 8, width=width + 16, showlegend=False,
        margin={"l": 8, "r": 8, "t": GAP, "b": 8},
    )  # fmt: skip
    return figure


def _draw(figure: go.Figure, panel: Panel, number: int) -> None:
    suffix, picture = "" if number == 1 else str(number), panel.picture
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    is_bare = panel.values is None
    values = np.zeros((picture.n_rows, picture.n_cols)) if panel.values is None else panel.values
    clear = [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]]
    figure.add_trace(
        go.Heatmap(
            z=values.astype(np.float32),
            zmin=0,
            zmax=max(float(values.max()), 1e-9),
            colorscale=clear if is_bare else [list(stop) for stop in HEAT],
            showscale=False,
            hovertemplate="" if is_bare else "<b>%{z:.3%}</b><br>row %{y}, column %{x}<extra></extra>",
            hoverinfo="skip" if is_bare else None,
            **axes,
        )
    )
    if panel.peak is not None:
        row, column = panel.peak
        for size, colour in ((13, "rgba(0,0,0,0.75)"), (10, "white")):
            marker = {"symbol": "x", "size": size, "color": colour, "line": {"width": 0}}
            figure.add_scatter(x=[column], y=[row], mode="markers", marker=marker, hoverinfo="skip", **axes)
    picture.lay_under(figure, number)

"""The picture with its patch grid and the region outlined."""

import numpy as np
import plotly.graph_objects as go

from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import template


def picture_grid(picture: PatchPicture, *, height: int = 420) -> go.Figure:
    """What the model saw, cut into its patches; hover names row, column and number of the patch."""
    numbers = np.arange(picture.n_rows * picture.n_cols).reshape(picture.n_rows, picture.n_cols)
    figure = go.Figure(
        go.Heatmap(
            z=np.zeros_like(numbers),
            customdata=numbers,
            showscale=False,
            name="",
            colorscale=[[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
            hovertemplate="patch %{customdata} · row %{y}, column %{x}<extra></extra>",
        )
    )
    picture.lay_under(figure)
    lines = [f"M {column - 0.5},-0.5 V {picture.n_rows - 0.5}" for column in range(1, picture.n_cols)]
    lines += [f"M -0.5,{row - 0.5} H {picture.n_cols - 0.5}" for row in range(1, picture.n_rows)]
    if lines:
        figure.add_shape(
            type="path",
            path=" ".join(lines),
            line={"color": "rgba(255, 255, 255, 0.45)", "width": 0.75},
            layer="below",
        )
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    return figure

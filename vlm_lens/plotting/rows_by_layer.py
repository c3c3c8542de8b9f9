"""Which rows of a sequence are computed in which layer: one panel a condition."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import template

SHARED, KEYS, WHOLE = "#e2e8f0", "#fbbf77", "#f43f5e"
KINDS = ("shared", "keys and values", "computed")
"""Read of the run that all share; keys and values made anew; the whole layer computed."""


def rows_by_layer(
    panels: Mapping[str, Int[np.ndarray, "layer pos"]],
    groups: Sequence[tuple[str, int, int]],
    *,
    n_columns: int = 3,
    position_axis: str = "position",
) -> go.Figure:
    """What each condition computes, layers upwards and positions to the right.

    Args:
        panels: for each condition 0 where a row is shared, 1 where its keys and values are made anew, 2 where it is
            computed.
        groups: name, first position and end of what the positions are, drawn as bands below.
        n_columns: panels side by side.
        position_axis: what the positions are called.
    """
    n_rows = -(-len(panels) // n_columns)
    figure = make_subplots(
        n_rows, n_columns, subplot_titles=[escaped(one) for one in panels], vertical_spacing=0.34 / n_rows,
        horizontal_spacing=0.05,
    )  # fmt: skip
    for place, kinds in enumerate(panels.values()):
        row, column = place // n_columns + 1, place % n_columns + 1
        n_layers, n_positions = kinds.shape
        figure.add_heatmap(
            z=kinds,
            zmin=0,
            zmax=2,
            colorscale=[[0.0, SHARED], [0.33, SHARED], [0.34, KEYS], [0.66, KEYS], [0.67, WHOLE], [1.0, WHOLE]],
            showscale=False,
            ygap=1,
            customdata=np.array(KINDS)[kinds],
            hovertemplate=f"layer %{{y}} · {position_axis} %{{x}}<br>%{{customdata}}<extra></extra>",
            row=row,
            col=column,
        )
        for _, first, _end in groups[1:]:
            figure.add_vline(x=first - 0.5, line_width=1, line_color="#94a3b8", row=row, col=column)
        wide = [one for one in groups if one[2] - one[1] > n_positions / 12]
        figure.update_xaxes(
            tickvals=[(first + end - 1) / 2 for _, first, end in wide], ticktext=[escaped(one[0]) for one in wide],
            range=[-0.5, n_positions - 0.5], row=row, col=column,
        )  # fmt: skip
        title = "layer" if column == 1 else ""
        figure.update_yaxes(title=title, tickvals=list(range(n_layers)), row=row, col=column)
    for name, colour in zip(KINDS, (SHARED, KEYS, WHOLE), strict=True):
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker={"color": colour, "size": 12, "symbol": "square"}, name=name
        )
    figure.update_layout(
        template=template(), height=90 + 210 * n_rows, margin={"t": 60, "b": 30, "l": 50, "r": 20},
        legend={"orientation": "h", "y": 1.0 + 0.22 / n_rows, "x": 0.0}, plot_bgcolor="white",
    )  # fmt: skip
    return figure

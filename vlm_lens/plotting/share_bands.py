"""Shares of attention by layer as lines, each with the band of its standard deviation."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import group_colours, rgba, template


def share_bands(
    mean: Float[np.ndarray, "layer group"],
    deviation: Float[np.ndarray, "layer group"],
    groups: Sequence[str],
    layers: Sequence[str],
    *,
    n: int,
    height: int = 380,
) -> go.Figure:
    """Lines over layers, one a group; the band reaches one standard deviation up and down, within 0 and 1.

    Args:
        mean: what each group of positions gets at each layer, mean over queries.
        deviation: its standard deviation over queries.
        groups: their names; known roles keep their colour in every figure.
        layers: the name of each layer.
        n: over how many queries.
        height: pixels.
    """
    assert mean.shape == deviation.shape == (len(layers), len(groups)), mean.shape
    names = [escaped(layer) for layer in layers]
    figure = go.Figure()
    for index, (group, colour) in enumerate(zip(groups, group_colours(groups), strict=True)):
        low = (mean[:, index] - deviation[:, index]).clip(0, 1)
        high = (mean[:, index] + deviation[:, index]).clip(0, 1)
        shared = {"legendgroup": escaped(group), "name": escaped(group)}
        figure.add_scatter(
            x=[*names, *reversed(names)],
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor=rgba(colour, 0.18),
            line={"width": 0},
            mode="lines",
            showlegend=False,
            hoverinfo="skip",
            **shared,
        )
        figure.add_scatter(
            x=names,
            y=mean[:, index],
            customdata=deviation[:, index],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 5},
            hovertemplate="layer %{x} · %{fullData.name} <b>%{y:.1%}</b> ± %{customdata:.1%}<extra></extra>",
            **shared,
        )
    figure.update_layout(
        template=template(),
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(type="category", title_text="layer", showgrid=False)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%", title_text=f"attention (mean ± std of {n} queries)")
    return figure

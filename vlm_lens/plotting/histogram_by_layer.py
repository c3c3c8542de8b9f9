"""The distribution of a positive quantity, layer by layer, on a logarithmic scale."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import rgba, template

DEPTH = "#4338ca"


def histogram_by_layer(
    counts: Int[np.ndarray, "layer bin"],
    edges: Float[np.ndarray, " edge"],
    layers: Sequence[str],
    *,
    quantity: str = "attention of a query to an image token",
    height: int = 380,
) -> go.Figure:
    """A heat map: a column a layer, a cell a bin, its colour the share of the layer's values that fall into it.

    Args:
        counts: how many values fall into each bin.
        edges: of the bins, all above 0 and evenly spaced on a logarithmic scale.
        layers: the name of each layer.
        quantity: what was counted.
        height: pixels.
    """
    assert counts.shape == (len(layers), len(edges) - 1), counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    between = np.broadcast_to(np.stack([edges[:-1], edges[1:]], axis=-1)[:, None], (counts.shape[1], len(layers), 2))
    centres = np.log10(edges[:-1] * edges[1:]) / 2
    figure = go.Figure(
        go.Heatmap(
            x=[escaped(layer) for layer in layers],
            y=centres,
            z=np.where(shares.T > 0, shares.T, np.nan),
            customdata=between,
            zmin=0,
            xgap=3,
            colorscale=[[0, rgba(DEPTH, 0.05)], [1, DEPTH]],
            colorbar={"thickness": 12, "len": 0.9, "tickformat": ".0%", "nticks": 5},
            hovertemplate=(
                "layer %{x} · from %{customdata[0]:.2~e} to %{customdata[1]:.2~e}<br>"
                "<b>%{z:.2%}</b> of the layer's values<extra></extra>"
            ),
        )
    )
    ticks = np.arange(np.ceil(np.log10(edges[0])), np.floor(np.log10(edges[-1])) + 1)
    figure.update_layout(template=template(), height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(type="category", title_text="layer", showgrid=False)
    figure.update_yaxes(title_text=quantity, tickvals=ticks, ticktext=[f"10<sup>{tick:.0f}</sup>" for tick in ticks])
    return figure

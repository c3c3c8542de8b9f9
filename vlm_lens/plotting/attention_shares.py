"""How a position's attention is split between begin-of-sequence, text and picture, by layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import group_colours, template


def attention_shares(
    shares: Float[np.ndarray, "layer group"],
    groups: Sequence[str],
    layers: Sequence[str],
    *,
    height: int = 360,
) -> go.Figure:
    """Stacked bars: one a layer, whose parts are the groups' shares of attention and sum to 1.

    Args:
        shares: what each group of positions gets at each layer, mean over heads.
        groups: their names; known roles keep their colour in every figure.
        layers: the name of each layer.
        height: pixels.
    """
    assert shares.shape == (len(layers), len(groups)), shares.shape
    figure = go.Figure(
        [
            go.Bar(
                x=[escaped(layer) for layer in layers],
                y=shares[:, index],
                name=escaped(group),
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate="layer %{x} · %{fullData.name} <b>%{y:.1%}</b><extra></extra>",
            )
            for index, (group, colour) in enumerate(zip(groups, group_colours(groups), strict=True))
        ]
    )
    figure.update_layout(
        template=template(),
        height=height,
        barmode="stack",
        bargap=0.18,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(type="category", title_text="layer", showgrid=False)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title_text="attention (mean over heads)")
    return figure

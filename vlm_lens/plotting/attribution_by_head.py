"""What every head adds to a logit: layers by heads."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.attribution_maps import AGAINST, FOR
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.patching_heatmaps import ROW_HEIGHT
from vlm_lens.plotting.theme import rgba, template


def attribution_by_head(
    values: Float[np.ndarray, "layer head"],
    layers: Sequence[int],
    heads: Sequence[int],
    *,
    title: str = "",
    height: int | None = None,
) -> go.Figure:
    """A heat map, layers upwards and heads across as `patching_heatmaps` has them, with a colour for each sign.

    Args:
        values: what each head adds.
        layers, heads: their numbers.
        title: what is shown.
        height: pixels; None takes what the layers need.
    """
    assert values.shape == (len(layers), len(heads)), values.shape
    largest = max(float(np.abs(values).max()), 1e-12)
    figure = go.Figure(
        go.Heatmap(
            x=[str(head) for head in heads],
            y=[str(layer) for layer in layers],
            z=values,
            zmin=-largest,
            zmax=largest,
            colorscale=[[0, AGAINST], [0.5, rgba("#94a3b8", 0.12)], [1, FOR]],
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "len": 0.9, "nticks": 5, "tickformat": "+.2~g"},
            hovertemplate="layer %{y}, head %{x} <b>%{z:+.3f}</b><extra></extra>",
        )
    )
    figure.update_layout(
        template=template(),
        height=height or ROW_HEIGHT * len(layers) + 170,
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        title={"text": escaped(title), "font": {"size": 13}, "x": 0.01, "y": 0.98, "yanchor": "top"},
    )
    figure.update_xaxes(type="category", title_text="head", showgrid=False)
    figure.update_yaxes(type="category", title_text="layer", showgrid=False)
    return figure

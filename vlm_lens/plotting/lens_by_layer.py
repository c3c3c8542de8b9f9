"""The logit lens at one position: how the answer forms from layer to layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import rgba, template
from vlm_lens.plotting.top_tokens import TopTokens

DEEP = "#4f46e5"


def lens_by_layer(lens: TopTokens, layers: Sequence[str], *, height: int = 360) -> go.Figure:
    """A table: layers across, ranks down, each cell a token whose shade is its probability.

    Args:
        lens: the best tokens, [layer rank].
        layers: the name of each layer.
        height: pixels.
    """
    assert lens.tokens.shape[0] == len(layers) and lens.tokens.ndim == 2, lens.tokens.shape
    tokens = np.vectorize(lambda token: token_markup(str(token)), otypes=[object])(lens.tokens.T)
    ranks = [str(rank + 1) for rank in range(lens.n_ranks)]
    figure = go.Figure(
        go.Heatmap(
            x=[escaped(layer) for layer in layers],
            y=ranks,
            z=lens.probabilities.T,
            text=tokens,
            texttemplate="%{text}",
            zmin=0,
            zmax=1,
            colorscale=[[0, rgba(DEEP, 0.05)], [1, rgba(DEEP, 0.62)]],
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "tickformat": ".0%", "nticks": 3, "len": 0.9},
            hovertemplate="<b>%{text}</b>  %{z:.2%}<br>rank %{y} · after %{x}<extra></extra>",
            textfont={"size": 12 if len(layers) <= 14 else 9},
        )
    )
    figure.update_layout(template=template(), height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(
        type="category",
        title_text=escaped("residual stream after layer"),
        showgrid=False,
        tickangle=0,
    )
    figure.update_yaxes(type="category", title_text="rank", autorange="reversed", showgrid=False)
    return figure

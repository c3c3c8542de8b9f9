"""The logit lens at one position: how the answer forms from layer to layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import rgba, template
from vlm_lens.plotting.top_tokens import TopTokens

DEEP = "#4f46e5"
MOST_COLUMNS = 14
"""With more layers than these, layers go down and ranks across, so that the words keep their room."""
ROW_HEIGHT = 26


def lens_by_layer(lens: TopTokens, layers: Sequence[str], *, height: int = 360) -> go.Figure:
    """A table of layers and ranks; each cell is a token, and its shade the token's probability.

    Args:
        lens: the best tokens, [layer rank].
        layers: the name of each layer.
        height: pixels; more where there are many layers.
    """
    assert lens.tokens.shape[0] == len(layers) and lens.tokens.ndim == 2, lens.tokens.shape
    words = np.vectorize(lambda token: token_markup(str(token)), otypes=[object])(lens.tokens)
    names = [escaped(layer) for layer in layers]
    ranks = [str(rank + 1) for rank in range(lens.n_ranks)]
    goes_down = len(layers) > MOST_COLUMNS
    layer_axis, rank_axis = ("y", "x") if goes_down else ("x", "y")
    figure = go.Figure(
        go.Heatmap(
            x=ranks if goes_down else names,
            y=names if goes_down else ranks,
            z=lens.probabilities if goes_down else lens.probabilities.T,
            text=words if goes_down else words.T,
            texttemplate="%{text}",
            zmin=0,
            zmax=1,
            colorscale=[[0, rgba(DEEP, 0.05)], [1, rgba(DEEP, 0.62)]],
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "tickformat": ".0%", "nticks": 3, "len": 0.9},
            hovertemplate=(
                f"<b>%{{text}}</b>  %{{z:.2%}}<br>rank %{{{rank_axis}}} · after %{{{layer_axis}}}<extra></extra>"
            ),
            textfont={"size": 12},
        )
    )
    layer_title, rank_title = "residual stream after layer", "rank"
    figure.update_layout(
        template=template(),
        height=max(height, ROW_HEIGHT * len(layers) + 60) if goes_down else height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )
    figure.update_xaxes(
        type="category",
        title_text=rank_title if goes_down else layer_title,
        showgrid=False,
        tickangle=0,
    )
    figure.update_yaxes(
        type="category",
        title_text=layer_title if goes_down else rank_title,
        autorange="reversed",
        showgrid=False,
        dtick=1,
    )
    return figure

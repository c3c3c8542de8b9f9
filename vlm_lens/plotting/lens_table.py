"""The logit lens over a text: for every position and layer the most probable token."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from vlm_lens.plotting.lens_by_layer import DEEP
from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import rgba, template
from vlm_lens.plotting.top_tokens import TopTokens

MOST_COLUMNS_WITH_WORDS = 40
COLUMN_WIDTH, ROW_HEIGHT = 58, 26
LONGEST_WORD = 8
"""Longer tokens are cut in the cells; hover shows them whole."""


def lens_table(
    lens: TopTokens, streams: Sequence[str], tokens: Sequence[str], *, height: int | None = None
) -> go.Figure:
    """Positions across, layers upwards; each cell is the best token, and its shade the token's probability.

    Args:
        lens: the best tokens, [stream position rank].
        streams: the name of each residual stream.
        tokens: the token that stands at each position.
        height: pixels; by default as many as the layers need.
    """
    assert lens.tokens.shape[:2] == (len(streams), len(tokens)), lens.tokens.shape
    writes_words = len(tokens) <= MOST_COLUMNS_WITH_WORDS
    columns = list(range(len(tokens)))
    below = np.array([token_markup(token) for token in tokens], dtype=object)
    hover = np.stack([lens.hover(), np.broadcast_to(below, lens.tokens.shape[:2])], axis=-1)
    figure = go.Figure(
        go.Heatmap(
            x=columns,
            y=[escaped(stream) for stream in streams],
            z=lens.probabilities[..., 0].astype(np.float32),
            text=cut_words(lens) if writes_words else None,
            texttemplate="%{text}" if writes_words else None,
            customdata=hover,
            zmin=0,
            zmax=1,
            colorscale=[[0, rgba(DEEP, 0.05)], [1, rgba(DEEP, 0.62)]],
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "tickformat": ".0%", "nticks": 3, "len": 0.9},
            hovertemplate="%{customdata[0]}<br>at <b>%{customdata[1]}</b> · after %{y}<extra></extra>",
            textfont={"size": 11},
        )
    )
    figure.update_layout(
        template=template(),
        height=ROW_HEIGHT * len(streams) + 130 if height is None else height,
        width=max(640, COLUMN_WIDTH * len(tokens) + 140) if writes_words else None,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
    )
    figure.update_xaxes(
        tickvals=columns,
        ticktext=below.tolist(),
        title_text="token at the position",
        showgrid=False,
        zeroline=False,
        tickangle=-45,
    )
    figure.update_yaxes(type="category", title_text="stream after", showgrid=False, dtick=1)
    return figure


def cut_words(lens: TopTokens) -> np.ndarray:
    """What is written into the cells."""

    def written(token: str) -> str:
        return token_markup(token if len(token) <= LONGEST_WORD else token[: LONGEST_WORD - 1] + "…")

    return np.vectorize(lambda token: written(str(token)), otypes=[object])(lens.tokens[..., 0])

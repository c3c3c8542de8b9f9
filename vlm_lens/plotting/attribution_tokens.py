"""What each position of a text adds to a logit."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.attribution_maps import AGAINST, FOR
from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import template


def attribution_tokens(
    values: Float[np.ndarray, " pos"], tokens: Sequence[str] = (), *, title: str = "", height: int = 340
) -> go.Figure:
    """Bars, one for each position in order, with the token below it.

    Args:
        values: what each adds.
        tokens: their texts; () where they are unknown.
        title: what is shown.
        height: pixels.
    """
    names = [token_markup(token) for token in tokens] or [str(position) for position in range(len(values))]
    figure = go.Figure(
        go.Bar(
            x=list(range(len(values))),
            y=values,
            customdata=names,
            marker={"color": [FOR if value > 0 else AGAINST for value in values], "line": {"width": 0}},
            hovertemplate="%{x}: %{customdata} <b>%{y:+.3f}</b><extra></extra>",
        )
    )
    figure.update_layout(
        template=template(),
        height=height,
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        title={"text": escaped(title), "font": {"size": 13}, "x": 0.01, "y": 0.98, "yanchor": "top"},
    )
    figure.update_xaxes(tickvals=list(range(len(values))), ticktext=names, showgrid=False)
    figure.update_yaxes(title_text="attribution", zeroline=True)
    return figure

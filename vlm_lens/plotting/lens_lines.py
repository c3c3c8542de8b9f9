"""The logit lens in numbers: how probable the words asked for become, layer by layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import WORD_COLOURS, template


def lens_lines(
    values: Float[np.ndarray, "state line"],
    names: Sequence[str],
    states: Sequence[str],
    *,
    title: str = "probability",
    height: int = 360,
) -> go.Figure:
    """A line over layers for each target.

    Args:
        values: what each line is at each state.
        names: of the lines.
        states: the name of each state.
        title: what is shown; a probability has its axis in per cent.
        height: pixels.
    """
    assert values.shape == (len(states), len(names)), values.shape
    is_share = title.startswith("probability")
    shown = "%{y:.2%}" if is_share else "%{y:.3f}"
    figure = go.Figure()
    for place, name in enumerate(names):
        figure.add_scatter(
            x=[escaped(state) for state in states],
            y=values[:, place],
            name=token_markup(name),
            mode="lines+markers",
            line={"color": WORD_COLOURS[place % len(WORD_COLOURS)], "width": 2},
            marker={"size": 6},
            hovertemplate=f"<b>{shown}</b> after %{{x}}<extra>{token_markup(name)}</extra>",
        )
    figure.update_layout(
        template=template(),
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=len(names) > 1 or is_share,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(type="category", title_text="residual stream after layer", showgrid=False)
    figure.update_yaxes(rangemode="tozero", title_text=escaped(title), tickformat=".0%" if is_share else None)
    return figure

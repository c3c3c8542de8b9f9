"""Figures of how many patches of an object say its name: by layer, and where most do."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, rgba, template


def correspondence_by_layer(figures: pd.DataFrame) -> go.Figure:
    """The share of patches that name the object over the states, with its band, and that of other patches.

    Args:
        figures: tidy rows with `patches`, `state`, `value`, `low`, `high`; the object's patches come first.
    """
    figure = go.Figure()
    for number, (name, of) in enumerate(figures.groupby("patches", sort=False)):
        colour = OTHER_COLOUR if number else WORD_COLOURS[0]
        x = of["state"].to_numpy(np.float64)
        value, low, high = (100 * of[["value", "low", "high"]].to_numpy(np.float64)).T
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", mode="lines",
            fillcolor=rgba(colour, 0.18), line={"width": 0}, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        figure.add_scatter(
            x=x,
            y=value,
            mode="lines+markers",
            name=str(name),
            line={"color": colour, "width": 2, "dash": "dash" if number else "solid"},
            marker={"size": 6},
            hovertemplate="state %{x}: <b>%{y:.2f}%</b><extra>" + str(name) + "</extra>",
        )
    figure.update_xaxes(title_text="hidden state (0: what enters the decoder)", showgrid=False, zeroline=False)
    figure.update_yaxes(title_text="patches that name the object (%)", rangemode="tozero")
    return _framed(figure)


def best_states(best: pd.DataFrame, n_states: int) -> go.Figure:
    """A histogram of the state in which most of an object's patches name it.

    Args:
        best: a row for each object with `state`.
        n_states: how many there are.
    """
    counts = np.bincount(best["state"].to_numpy(int), minlength=n_states)
    figure = go.Figure()
    figure.add_bar(
        x=list(range(n_states)), y=counts, marker={"color": WORD_COLOURS[0], "opacity": 0.85, "line": {"width": 0}},
        hovertemplate="state %{x}: <b>%{y}</b> objects<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="hidden state with the largest share", showgrid=False, zeroline=False)
    figure.update_yaxes(title_text="objects", rangemode="tozero")
    figure = _framed(figure)
    return figure.update_layout(bargap=0.15, showlegend=False)


def _framed(figure: go.Figure) -> go.Figure:
    return figure.update_layout(
        template=template(),
        height=380,
        margin={"l": 8, "r": 16, "t": 48, "b": 8},
        legend={"orientation": "h", "y": 1.04, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )

"""Figures of blocked attention, a line for each source: over named windows of layers, and over one that slides."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_lines import interval_lines
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import WORD_COLOURS, rgba, template


def blocking_windows(figures: pd.DataFrame, y_title: str) -> go.Figure:
    """A line for each source over the windows, with intervals.

    Args:
        figures: tidy rows with `source`, `window`, `value`, `low`, `high`, in the order of the windows.
        y_title: what is measured.
    """
    windows = list(dict.fromkeys(figures["window"]))
    curves = {}
    for source, rows in figures.groupby("source", sort=False):
        placed = rows.set_index("window").reindex(windows)
        curves[str(source)] = placed[["value", "low", "high"]].to_numpy(np.float64)
    return interval_lines(
        windows,
        {"": curves},
        x_title="layers in which attention is blocked",
        y_title=y_title,
        apart=("all",),
        height=460,
    )


def blocking_by_layer(windows: Mapping[str, Sequence[int]], figures: pd.DataFrame, y_title: str) -> go.Figure:
    """A line for each source over the first layer of a sliding window, with bands.

    Args:
        windows: the first and last layer of each window.
        figures: tidy rows with `source`, `window`, `value`, `low`, `high`.
        y_title: what is measured.
    """
    figure = go.Figure()
    for number, (source, rows) in enumerate(figures.groupby("source", sort=False)):
        colour = WORD_COLOURS[number % len(WORD_COLOURS)]
        x = np.array([windows[window][0] for window in rows["window"]])
        value, low, high = rows[["value", "low", "high"]].to_numpy(np.float64).T
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", mode="lines",
            fillcolor=rgba(colour, 0.12), line={"width": 0}, hoverinfo="skip", showlegend=False,
            legendgroup=str(source),
        )  # fmt: skip
        figure.add_scatter(
            x=x,
            y=value,
            mode="lines+markers",
            name=escaped(str(source)),
            legendgroup=str(source),
            line={"color": colour, "width": 2},
            marker={"size": 6},
            customdata=rows["window"],
            hovertemplate="layers %{customdata}: <b>%{y:.3f}</b><extra>" + escaped(str(source)) + "</extra>",
        )
    first, last = next(iter(windows.values()))
    figure.update_xaxes(
        title_text=f"first of the {last - first + 1} layers in which attention is blocked", showgrid=False,
        zeroline=False, dtick=1 if len(windows) <= 16 else None,
    )  # fmt: skip
    figure.update_yaxes(title_text=y_title, rangemode="tozero")
    return figure.update_layout(
        template=template(),
        height=460,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.04, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )

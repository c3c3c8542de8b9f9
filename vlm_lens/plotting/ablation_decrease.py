"""Figures of what an ablation loses: bars in the table's rows, and curves over the number of tokens."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vlm_lens.plotting.interval_bars import interval_bars
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, template

_CONTROL = "Random"


def ablation_bars(figures: pd.DataFrame) -> go.Figure:
    """For each way to choose tokens a bar for each task, with intervals.

    Args:
        figures: tidy rows with `row`, `task`, `value`, `low`, `high`, shares from 0 to 1, NaN where not measured.
    """
    rows = list(dict.fromkeys(figures["row"]))
    series = {
        str(task): of.set_index("row").loc[rows, ["value", "low", "high"]].to_numpy(np.float64) * 100
        for task, of in figures.groupby("task", sort=False)
        if of["value"].notna().any()
    }
    figure = interval_bars(rows, series, x_title="decrease (%)")
    figure.update_xaxes(range=[0, 102])
    return figure


def ablation_curves(figures: pd.DataFrame) -> go.Figure:
    """What is lost over how many tokens are ablated, a panel for each task, a line for each way to choose them.

    Args:
        figures: tidy rows with `line`, `kind`, `task`, `n_tokens`, `value`, `low`, `high`, shares from 0 to 1.
    """
    tasks, lines = (list(dict.fromkeys(figures[name])) for name in ("task", "line"))
    figure = make_subplots(cols=len(tasks), shared_yaxes=True, subplot_titles=[escaped(task) for task in tasks])
    figure.update_annotations(font_size=13)
    colours = dict(zip([line for line in lines if line != _CONTROL], WORD_COLOURS, strict=False))
    for number, task in enumerate(tasks, start=1):
        for line in lines:
            of = figures[(figures["task"] == task) & (figures["line"] == line)].sort_values("n_tokens")
            value, low, high = (100 * of[["value", "low", "high"]].to_numpy(np.float64)).T
            figure.add_scatter(
                x=of["n_tokens"],
                y=value,
                error_y={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                         "thickness": 1, "width": 2},
                customdata=of["kind"],
                name=escaped(line),
                legendgroup=escaped(line),
                showlegend=number == 1,
                mode="lines+markers",
                line={"color": colours.get(line, OTHER_COLOUR), "width": 2,
                      "dash": "dash" if line == _CONTROL else "solid"},
                marker={"size": 6},
                hovertemplate="%{customdata}, %{x:.1f} tokens: <b>%{y:.1f}%</b><extra></extra>",
                row=1,
                col=number,
            )  # fmt: skip
    figure.update_xaxes(title_text="tokens ablated", rangemode="tozero", showgrid=False, zeroline=False)
    figure.update_yaxes(range=[-3, 103])
    figure.update_yaxes(title_text="decrease (%)", row=1, col=1)
    figure.update_layout(
        template=template(),
        height=400,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.12, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    return figure

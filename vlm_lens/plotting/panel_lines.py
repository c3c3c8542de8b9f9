"""Lines with bands in a grid of panels: how something changes over layers, class by class."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vlm_lens.plotting.interval_lines import line_styles
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import rgba, template

PANEL_HEIGHT = 210


def panel_lines(
    figures: pd.DataFrame,
    *,
    x_title: str,
    y_title: str,
    n_columns: int = 4,
    controls: Collection[str] = (),
    y_range: tuple[float, float] | None = None,
    ticks: Mapping[int, str] | None = None,
) -> go.Figure:
    """A panel for each title, in order of appearance, row by row; all have the same axes.

    Args:
        figures: tidy rows with `panel`, `line`, `x`, `value`, `low`, `high`; NaN in the last two leaves the band out.
        x_title: what lies across.
        y_title: what is measured.
        n_columns: panels side by side.
        controls: lines drawn in grey, each dashed in its own way.
        y_range: of all vertical axes; None for what the values need.
        ticks: names for places across, where numbers say too little.
    """
    panels, lines = list(dict.fromkeys(figures["panel"])), list(dict.fromkeys(figures["line"]))
    styles = line_styles(lines, [line for line in lines if line in controls])
    n_columns = min(n_columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = make_subplots(
        n_rows, n_columns, subplot_titles=[escaped(panel) for panel in panels], shared_xaxes="all", shared_yaxes="all",
        horizontal_spacing=0.03 if n_columns > 1 else 0, vertical_spacing=0.28 / n_rows if n_rows > 1 else 0,
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    shown: set[str] = set()
    for place, panel in enumerate(panels):
        row, col = place // n_columns + 1, place % n_columns + 1
        here = figures[figures["panel"] == panel]
        for line in dict.fromkeys(here["line"]):
            for trace in _traces(here[here["line"] == line], line, styles[line], line not in shown):
                figure.add_trace(trace, row=row, col=col)
            shown.add(line)
        is_lowest = place + n_columns >= len(panels)
        figure.update_xaxes(
            title_text=x_title if is_lowest else None, showticklabels=is_lowest, zeroline=False, row=row, col=col
        )
        figure.update_yaxes(title_text=y_title if col == 1 else None, zeroline=False, row=row, col=col)
    if ticks is not None:
        figure.update_xaxes(tickvals=list(ticks), ticktext=[escaped(name) for name in ticks.values()])
    figure.update_yaxes(range=y_range)
    legend_rows = 1 + len(lines) // 5
    figure.update_layout(
        template=template(),
        height=110 + 18 * legend_rows + n_rows * (PANEL_HEIGHT if n_rows > 1 else 300),
        margin={"l": 8, "r": 8, "t": 34, "b": 70 + 18 * legend_rows},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0.005,
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "normal",
        },
    )
    return figure


def _traces(here: pd.DataFrame, line: str, style: Mapping[str, object], is_first: bool) -> Sequence[go.Scatter]:
    """The line, and its band where there are intervals."""
    here = here.sort_values("x", kind="stable")
    traces = []
    banded = here.dropna(subset=["low", "high"])
    if len(banded):
        x = banded["x"].to_list()
        around = banded["high"].to_list() + banded["low"].to_list()[::-1]
        traces.append(
            go.Scatter(
                x=x + x[::-1],
                y=around,
                fill="toself",
                mode="lines",
                line={"width": 0},
                hoverinfo="skip",
                fillcolor=rgba(str(style["color"]), 0.16),
                legendgroup=escaped(line),
                showlegend=False,
            )  # fmt: skip
        )
    ends = here[["low", "high"]].to_numpy()
    traces.append(
        go.Scatter(
            x=here["x"],
            y=here["value"],
            name=escaped(line),
            legendgroup=escaped(line),
            showlegend=is_first,
            mode="lines+markers",
            line=dict(style),
            marker={"size": 5},
            customdata=ends,
            hovertemplate="%{x}: <b>%{y:.3f}</b> [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra>"
            + escaped(line)
            + "</extra>",
        )  # fmt: skip
    )
    return traces

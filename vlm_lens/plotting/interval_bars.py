"""Figures with their intervals for conditions without an order."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import WORD_COLOURS, template


def interval_bars(
    conditions: Sequence[str],
    series: Mapping[str, Float[np.ndarray, "condition 3"]],
    *,
    x_title: str,
    height: int | None = None,
) -> go.Figure:
    """Lying bars, a group for each condition, first on top, with an interval at each bar's end.

    Args:
        conditions: their names.
        series: for each colour the values with lower and upper end, NaN where a condition was not measured.
        x_title: what is measured.
        height: pixels; None takes what the bars need.
    """
    figure = go.Figure()
    for (name, values), colour in zip(series.items(), WORD_COLOURS * (1 + len(series) // 8), strict=False):
        assert values.shape == (len(conditions), 3), values.shape
        value, low, high = values.T
        figure.add_bar(
            y=[escaped(condition) for condition in conditions],
            x=value,
            orientation="h",
            name=escaped(name),
            marker={"color": colour, "line": {"width": 0}, "opacity": 0.85},
            error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                     "thickness": 1.2, "width": 3},
            hovertemplate="%{y}: <b>%{x:.3f}</b><extra>" + escaped(name) + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        template=template(),
        height=height or 90 + len(conditions) * (14 + 14 * len(series)),
        barmode="group",
        bargap=0.35,
        margin={"l": 8, "r": 16, "t": 40, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(range=[0, 1.02], title_text=x_title)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    return figure

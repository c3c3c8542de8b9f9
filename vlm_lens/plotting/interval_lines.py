"""Figures with their intervals along an ordered axis: layers, windows of layers."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, template

Curves = Mapping[str, Float[np.ndarray, "place 3"]]
DASHES = ("dash", "dot", "dashdot")
STEP = 0.045  # between lines at one place, so that intervals do not hide each other


def interval_lines(
    places: Sequence[str],
    panels: Mapping[str, Curves],
    *,
    x_title: str,
    y_title: str,
    apart: Collection[str] = (),
    controls: Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    height: int = 380,
) -> go.Figure:
    """A line for each condition, with its intervals, in one panel or several side by side.

    Args:
        places: the names along the axis.
        panels: for each panel's title the lines; each holds value, lower and upper end at every place, NaN for a gap.
        x_title: what the places are.
        y_title: what is measured.
        apart: places that no line leads to, such as "all" after windows of layers.
        controls: lines drawn in grey, each dashed in its own way.
        ranges: of the vertical axis of some panels; the others begin at 0 and end where their values do.
        height: pixels.
    """
    styles = line_styles(list(dict.fromkeys(name for curves in panels.values() for name in curves)), controls)
    figure = make_subplots(cols=len(panels), subplot_titles=[escaped(title) for title in panels])
    figure.update_annotations(font_size=13)
    shown: set[str] = set()
    for number, (title, curves) in enumerate(panels.items(), start=1):
        for place, (name, values) in enumerate(curves.items()):
            assert values.shape == (len(places), 3), values.shape
            x = np.arange(len(places)) + STEP * (place - (len(curves) - 1) / 2)
            breaks = [at for at, one in enumerate(places) if one in apart]
            broken = np.insert(values, breaks, np.nan, axis=0)
            value, low, high = broken.T
            figure.add_scatter(
                x=np.insert(x, breaks, x[breaks]),
                y=value,
                error_y={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                         "thickness": 1, "width": 2},
                name=escaped(name),
                legendgroup=escaped(name),
                showlegend=name not in shown,
                mode="lines+markers",
                line=styles[name],
                marker={"size": 6},
                hovertemplate="<b>%{y:.3f}</b><extra>" + escaped(name) + "</extra>",
                row=1,
                col=number,
            )  # fmt: skip
            shown.add(name)
        figure.update_yaxes(range=(ranges or {}).get(title), rangemode="tozero", row=1, col=number)
    names = [escaped(place) for place in places]
    figure.update_xaxes(tickvals=list(range(len(places))), ticktext=names, title_text=x_title)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(title_text=y_title, row=1, col=1)
    figure.update_layout(
        template=template(),
        height=height,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.12, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    return figure


def line_styles(names: Sequence[str], controls: Sequence[str]) -> dict[str, dict[str, object]]:
    """A colour for each line, the same in all panels; controls are grey."""
    coloured = [name for name in names if name not in controls]
    found: dict[str, dict[str, object]] = {
        name: {"color": WORD_COLOURS[place % len(WORD_COLOURS)], "width": 2} for place, name in enumerate(coloured)
    }
    for place, name in enumerate(controls):
        found[name] = {"color": OTHER_COLOUR, "width": 1.5, "dash": DASHES[place % len(DASHES)]}
    return found

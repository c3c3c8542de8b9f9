"""Standing bars, a group for each class: parts plain, whole objects hatched, chance as a line across."""

from collections.abc import Collection

import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, template


def class_bars(
    figures: pd.DataFrame, *, y_title: str, hatched: Collection[str] = (), levels: pd.DataFrame | None = None
) -> go.Figure:
    """A group of bars for each class, with intervals; the two bars of a pair share a colour.

    Args:
        figures: tidy rows with `class`, `series`, `colour` (what shares one), `value`, `low`, `high`.
        y_title: what is measured.
        hatched: the series that are hatched.
        levels: rows with `class` and `value`: a mark across each group, such as chance.
    """
    figure, classes = go.Figure(), list(dict.fromkeys(figures["class"]))
    colours = {name: WORD_COLOURS[place % 8] for place, name in enumerate(dict.fromkeys(figures["colour"]))}
    for series in dict.fromkeys(figures["series"]):
        here = figures[figures["series"] == series].set_index("class").reindex(classes)
        colour = colours[here["colour"].dropna().iloc[0]]
        is_hatched = series in hatched
        figure.add_bar(
            x=[escaped(name) for name in classes],
            y=here["value"],
            name=escaped(series),
            marker={"color": colour, "line": {"color": colour, "width": 1},
                    "pattern": {"shape": "/" if is_hatched else "", "size": 6, "solidity": 0.35}},
            error_y={"type": "data", "symmetric": False, "array": here["high"] - here["value"],
                     "arrayminus": here["value"] - here["low"], "thickness": 1.2, "width": 3},
            hovertemplate="%{x}: <b>%{y:.3f}</b><extra>" + escaped(series) + "</extra>",
        )  # fmt: skip
    if levels is not None:
        figure.add_scatter(
            x=[escaped(name) for name in levels["class"]], y=levels["value"], mode="markers", name="elsewhere",
            marker={"symbol": "line-ew", "size": 34, "line": {"width": 2, "color": OTHER_COLOUR}},
            hovertemplate="%{x}: <b>%{y:.3f}</b><extra>elsewhere in the picture</extra>",
        )  # fmt: skip
    figure.update_layout(
        template=template(), height=400, barmode="group", bargap=0.25, bargroupgap=0.06,
        margin={"l": 8, "r": 8, "t": 48, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(title_text=y_title, range=[0, 1.02])
    return figure

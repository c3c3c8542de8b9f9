"""Scores of descriptions under knockouts: bars for all layers, dashed ones for all layers outside of a window."""

import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, rgba, template


def knockout_bars(scores: pd.DataFrame, everywhere: str, outside: str, *, height: int = 400) -> go.Figure:
    """A group of bars for each knockout: F1, precision and recall; beside each a dashed bar for the window.

    The layout of "What's in the image?", 2025, figure 2 (e).

    Args:
        scores: tidy rows with `knockout`, `blocked`, `metric`, `value`, `low`, `high`.
        everywhere: what `blocked` says where all layers are.
        outside: what it says where all layers outside of a window are.
        height: pixels.
    """
    figure = go.Figure()
    knockouts = list(dict.fromkeys(scores["knockout"]))
    for metric, colour in zip(dict.fromkeys(scores["metric"]), WORD_COLOURS, strict=False):
        for blocked, is_solid in ((everywhere, True), (outside, False)):
            chosen = scores[(scores["metric"] == metric) & (scores["blocked"] == blocked)]
            rows = chosen.set_index("knockout").reindex(knockouts)
            fill = colour if is_solid else rgba(colour, 0.12)
            figure.add_bar(
                x=[escaped(name) for name in knockouts],
                y=rows["value"],
                name=escaped(f"{metric}, {blocked}"),
                offsetgroup=f"{metric} {blocked}",
                marker={"color": fill, "line": {"color": colour, "width": 0 if is_solid else 1.5},
                        "pattern": {"shape": "" if is_solid else "/", "fgcolor": colour, "size": 6, "solidity": 0.15}},
                error_y={"type": "data", "symmetric": False, "color": OTHER_COLOUR, "thickness": 1.2, "width": 3,
                         "array": rows["high"] - rows["value"], "arrayminus": rows["value"] - rows["low"]},
                hovertemplate="%{x}: <b>%{y:.3f}</b><extra>" + escaped(f"{metric}, {blocked}") + "</extra>",
            )  # fmt: skip
    figure.update_layout(
        template=template(),
        height=height,
        barmode="group",
        bargap=0.25,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(range=[0, 1.04], title_text="agreement with the model's own description")
    return figure

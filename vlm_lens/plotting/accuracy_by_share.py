"""How often answers are right against how much of a picture was kept."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, template


def accuracy_by_share(
    shares: Sequence[float],
    accuracy: Mapping[str, Float[np.ndarray, "share 3"]],
    levels: Mapping[str, float],
    *,
    height: int = 420,
) -> go.Figure:
    """A line for each condition with its intervals, and dotted lines for what has no share.

    Args:
        shares: of the image tokens, ascending, above 0; the axis is logarithmic.
        accuracy: for each condition the figure, and the lower and upper end of its interval.
        levels: for each condition without a share its accuracy: the whole model, the text alone.
        height: pixels.
    """
    figure = go.Figure()
    for (name, values), colour in zip(accuracy.items(), WORD_COLOURS * (1 + len(accuracy) // 8), strict=False):
        assert values.shape == (len(shares), 3), values.shape
        value, low, high = values.T
        figure.add_scatter(
            x=list(shares),
            y=value,
            error_y={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                     "thickness": 1, "width": 3},
            name=escaped(name),
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 6},
            hovertemplate="%{y:.1%} right with %{x:.0%} of the image tokens<extra>" + escaped(name) + "</extra>",
        )  # fmt: skip
    for place, (name, level) in enumerate(levels.items()):
        figure.add_hline(
            y=level,
            line={"color": OTHER_COLOUR, "width": 1, "dash": "dot"},
            annotation={"text": escaped(name), "font": {"size": 11, "color": OTHER_COLOUR}},
            annotation_position=("top left", "bottom right")[place % 2],
        )
    figure.update_xaxes(type="log", tickvals=list(shares), tickformat=".0%", title="image tokens kept in each layer")
    figure.update_yaxes(tickformat=".0%", title="right answers")
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    margin = {"l": 4, "r": 12, "t": 40, "b": 4}
    figure.update_layout(template=template(), height=height, margin=margin, legend=legend)
    return figure

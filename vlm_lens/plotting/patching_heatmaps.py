"""What patching each activation does to an answer: layers by positions, or by heads."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import template

AWAY, TOWARDS = "#f97316", "#4f46e5"
"""Further from the source than the run without a patch, and towards it."""
ROW_HEIGHT = 22
MOST_LABELS = 40
"""With more columns than these, their numbers alone are shown below; their names are in the hover text."""


def patching_heatmaps(
    panels: Mapping[str, Float[np.ndarray, "layer column"]],
    layers: Sequence[str],
    columns: Sequence[str],
    *,
    axis: str = "position",
    corrupted: float = 0.0,
    clean: float | None = None,
    title: str = "",
) -> go.Figure:
    """One heat map a kind of activation, side by side under one colour scale.

    Colours are centred on the run without a patch; a source whose metric is lower turns them round, so that one colour
    always means towards the source.

    Args:
        panels: for each kind its values; NaN is left blank.
        layers: the name of each layer.
        columns: the name of each position or head.
        axis: what the columns are.
        corrupted: the value without a patch.
        clean: the source's; None if it is unknown.
        title: of the colour bar.
    """
    assert all(one.shape == (len(layers), len(columns)) for one in panels.values())
    finite = np.concatenate([np.abs(one - corrupted).ravel() for one in panels.values()])
    reach = max(float(np.nanmax(finite, initial=0.0)), abs((corrupted if clean is None else clean) - corrupted), 1e-9)
    figure = make_subplots(1, len(panels), subplot_titles=[escaped(one) for one in panels], shared_yaxes=True,
                           horizontal_spacing=0.25 / max(4, len(panels) * 4))  # fmt: skip
    for place, values in enumerate(panels.values()):
        heatmap = go.Heatmap(
            z=values,
            x=list(range(len(columns))),
            y=list(layers),
            customdata=np.tile([token_markup(one) for one in columns], (len(layers), 1)),
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate=f"<b>%{{z:.3f}}</b><br>layer %{{y}} · {axis} %{{customdata}}<extra></extra>",
        )
        figure.add_trace(heatmap, row=1, col=place + 1)
    ends = [AWAY, TOWARDS] if clean is None or clean >= corrupted else [TOWARDS, AWAY]
    figure.update_layout(
        template=template(),
        height=ROW_HEIGHT * len(layers) + 170,
        margin={"l": 8, "r": 8, "t": 56, "b": 8},
        coloraxis={
            "cmin": corrupted - reach,
            "cmax": corrupted + reach,
            "colorscale": [[0, ends[0]], [0.5, "#f4f4f6"], [1, ends[1]]],
            "colorbar": {"thickness": 12, "title": {"text": escaped(title), "side": "right"}, "nticks": 5},
        },
    )
    figure.update_xaxes(
        title_text=axis, showgrid=False, tickvals=list(range(len(columns))),
        ticktext=[token_markup(one) for one in columns],
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    if len(columns) > MOST_LABELS:
        figure.update_xaxes(tickvals=None, ticktext=None, nticks=12)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_yaxes(title_text="layer", row=1, col=1)
    return figure

"""What the attention and the MLP of each layer add to a logit."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import WORD_COLOURS, template

COLOURS = {"attn": "#6366f1", "mlp": "#fb923c", "embed": "#10b981", "edit": "#f43f5e", "bias": "#94a3b8"}


def attribution_bars(
    kinds: Sequence[str],
    layers: Sequence[int | None],
    values: Float[np.ndarray, " component"],
    *,
    title: str = "",
    height: int = 360,
) -> go.Figure:
    """Bars, a group for each layer and a colour for each kind; what is outside the layers stands at the ends.

    Args:
        kinds: what adds ("attn", "mlp", "embed" ...), in the order of the model.
        layers: in which layer; None outside the layers.
        values: how much.
        title: what is shown.
        height: pixels.
    """
    assert len(kinds) == len(layers) == len(values)
    places = [kind if layer is None else str(layer) for kind, layer in zip(kinds, layers, strict=True)]
    spare = iter(WORD_COLOURS * 4)
    figure = go.Figure(
        [
            go.Bar(
                x=[escaped(place) for place, one in zip(places, kinds, strict=True) if one == kind],
                y=[value for value, one in zip(values, kinds, strict=True) if one == kind],
                name=escaped(kind),
                # What stands alone in its place needs no room for a neighbour.
                offsetgroup=kind if kind in ("attn", "mlp", "edit") else "attn",
                marker={"color": COLOURS.get(kind) or next(spare), "line": {"width": 0}},
                hovertemplate="%{x} %{fullData.name} <b>%{y:+.3f}</b><extra></extra>",
            )
            for kind in dict.fromkeys(kinds)
        ]
    )
    figure.update_layout(
        template=template(),
        height=height,
        barmode="group",
        bargap=0.25,
        bargroupgap=0.06,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        title={"text": escaped(title), "font": {"size": 13}, "x": 0.01, "y": 0.98, "yanchor": "top"},
    )
    order = list(dict.fromkeys(escaped(place) for place in places))
    figure.update_xaxes(type="category", title_text="layer", showgrid=False, categoryorder="array", categoryarray=order)
    figure.update_yaxes(title_text="added to the logit", zeroline=True)
    return figure

"""Which patches speak for an answer, and which against it, over the picture."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.layer_slider import add_layer_slider
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import HEAT, template

FOR, AGAINST = "#f43f5e", "#2563eb"
"""What speaks for an answer, and what against it."""
BOTH_WAYS: tuple[tuple[float, str], ...] = (
    (0.0, "rgba(30, 80, 235, 0.92)"),
    (0.25, "rgba(70, 120, 240, 0.66)"),
    (0.45, "rgba(20, 20, 40, 0.42)"),
    (0.5, "rgba(15, 15, 30, 0.40)"),
    (0.55, "rgba(40, 20, 35, 0.42)"),
    (0.75, "rgba(244, 90, 80, 0.70)"),
    (1.0, "rgba(255, 214, 90, 0.92)"),
)
"""Blue against, warm for; dark where nothing is, with the picture visible below."""


def attribution_maps(
    picture: PatchPicture,
    values: Float[np.ndarray, "layer patch_row patch_col"],
    layers: Sequence[str],
    *,
    title: str = "",
    prefix: str = "",
    start: int = 0,
    height: int = 560,
) -> go.Figure:
    """A heat map of attributions over the patches; with several maps, a slider between them.

    Each map has its own colour range, symmetric about zero where a value is negative.

    Args:
        picture: what lies under the map.
        values: the attribution of each patch.
        layers: the name of each map, as the slider shows it.
        title: what is shown.
        prefix: stands before the name that the slider shows.
        start: the map shown first.
        height: pixels.
    """
    assert values.shape == (len(layers), picture.n_rows, picture.n_cols), values.shape
    is_signed = bool((values < 0).any())
    changing = [
        [
            {
                "z": one.astype(np.float32),
                "zmin": -_largest(one) if is_signed else 0,
                "zmax": _largest(one),
                "meta": [escaped(layer), f"{one.sum():+.4g}"],
            }
        ]
        for one, layer in zip(values, layers, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            xgap=picture.cell_gap,
            ygap=picture.cell_gap,
            colorscale=[list(stop) for stop in (BOTH_WAYS if is_signed else HEAT)],
            colorbar={"thickness": 12, "len": 0.9, "tickformat": ".2~g", "nticks": 5},
            hovertemplate=(
                "<b>%{z:.4g}</b><br>patch row %{y}, column %{x}<br>%{meta[0]}, whole picture %{meta[1]}<extra></extra>"
            ),
        )
    )
    picture.lay_under(figure)
    if len(layers) > 1:
        add_layer_slider(figure, changing, layers, start=start, prefix=prefix)
    else:
        figure.data[0].update(changing[0][0])
    figure.update_layout(
        template=template(),
        height=height,
        margin={"l": 4, "r": 4, "t": 44, "b": 4},
        title={"text": escaped(title), "font": {"size": 13}, "x": 0.01, "y": 0.98, "yanchor": "top"},
    )
    return figure


def _largest(values: Float[np.ndarray, "patch_row patch_col"]) -> float:
    return max(float(np.abs(values).max()), 1e-12)

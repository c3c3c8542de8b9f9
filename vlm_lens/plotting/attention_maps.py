"""Where in the picture a position looks, layer by layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.layer_slider import add_layer_slider
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import HEAT, template


def attention_maps(
    picture: PatchPicture,
    attention: Float[np.ndarray, "layer patch_row patch_col"],
    layers: Sequence[str],
    *,
    start: int | None = None,
    prefix: str = "attention of layer ",
    height: int = 560,
) -> go.Figure:
    """A heat map of attention over the patches, with a slider over layers.

    Each layer has its own colour range, from zero to its largest patch: layers differ by orders
    of magnitude.

    Args:
        picture: what lies under the map.
        attention: the share of all attention that each patch gets; a layer sums to at most 1.
        layers: the name of each layer, as the slider shows it.
        start: the layer shown first; by default the one that gives the region most, or the picture without one.
        prefix: what the slider says before a layer's name.
        height: pixels.
    """
    assert attention.shape == (len(layers), picture.n_rows, picture.n_cols), attention.shape
    totals = attention.sum(axis=(1, 2))
    if start is None:
        region = picture.region
        start = int((totals if region is None else attention[:, region].sum(axis=1)).argmax())

    changing = [
        [
            {
                "z": values.astype(np.float32),
                "zmax": max(float(values.max()), 1e-9),
                "meta": [escaped(layer), f"{total:.1%}"],
            }
        ]
        for values, total, layer in zip(attention, totals, layers, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            zmin=0,
            xgap=picture.cell_gap,
            ygap=picture.cell_gap,
            colorscale=[list(stop) for stop in HEAT],
            colorbar={"thickness": 12, "len": 0.9, "tickformat": ".2~p", "nticks": 5},
            hovertemplate=(
                "<b>%{z:.3%}</b> of the attention<br>patch row %{y}, column %{x}<br>"
                "layer %{meta[0]}, whole picture %{meta[1]}<extra></extra>"
            ),
        )
    )
    picture.lay_under(figure)
    add_layer_slider(figure, changing, layers, start=start, prefix=prefix)
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 44, "b": 4})
    return figure

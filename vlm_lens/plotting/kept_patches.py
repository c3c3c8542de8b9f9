"""Which patches a compressed context holds: in how many layers, and layer by layer."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool

from vlm_lens.plotting.layer_slider import add_layer_slider
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import template

# The picture is seen where a patch is kept, and veiled where it is not.
VEIL = ((0.0, "rgba(15, 17, 32, 0.82)"), (1.0, "rgba(15, 17, 32, 0.0)"))


def kept_patches(
    picture: PatchPicture, is_kept: Bool[np.ndarray, "layer patch_row patch_col"], *, height: int = 560
) -> go.Figure:
    """The picture, veiled where nothing of it is kept; a slider goes from all layers together to each alone.

    Args:
        picture: what the model saw.
        is_kept: the patches that each layer holds.
        height: pixels.
    """
    n_layers = len(is_kept)
    assert is_kept.shape == (n_layers, picture.n_rows, picture.n_cols), is_kept.shape
    counts = is_kept.sum(axis=0)
    values = [counts / n_layers, *is_kept.astype(np.float64)]
    words = [np.char.add(np.char.add("kept in ", counts.astype(str)), f" of {n_layers} layers")]
    words += [np.where(one, "kept", "dropped") for one in is_kept]
    names = ["all", *map(str, range(n_layers))]
    # Few patches are kept in many layers: a root lets those of one layer be seen at all.
    frames = [[{"z": np.sqrt(value), "customdata": word}] for value, word in zip(values, words, strict=True)]
    figure = go.Figure(
        go.Heatmap(
            zmin=0,
            zmax=1,
            xgap=picture.cell_gap,
            ygap=picture.cell_gap,
            colorscale=[list(stop) for stop in VEIL],
            showscale=False,
            hovertemplate="<b>%{customdata}</b><br>patch row %{y}, column %{x}<extra></extra>",
        )
    )
    picture.lay_under(figure)
    add_layer_slider(figure, frames, names, start=0, prefix="kept in layers: ")
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 44, "b": 4})
    return figure

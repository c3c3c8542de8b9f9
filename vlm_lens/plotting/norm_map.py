"""How long the vectors of a picture's patches are."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.patch_picture import LINE, PatchPicture, outline
from vlm_lens.plotting.theme import HEAT, template

STROKES = (("#0f172a", 2 * LINE), ("#ffffff", LINE))
"""Around the patches that stand out: unlike a region's outline."""


def norm_map(
    picture: PatchPicture, norms: Float[np.ndarray, "patch_row patch_col"], threshold: float, *, height: int = 480
) -> go.Figure:
    """A heat map of norms over the picture, from the shortest to the longest; those above a threshold are outlined.

    Args:
        picture: what lies under the map, with a region to outline besides.
        norms: of each patch.
        threshold: above which a patch stands out.
        height: pixels.
    """
    assert norms.shape == (picture.n_rows, picture.n_cols), norms.shape
    figure = go.Figure(
        go.Heatmap(
            z=norms.astype(np.float32),
            xgap=picture.cell_gap,
            ygap=picture.cell_gap,
            colorscale=[list(stop) for stop in HEAT],
            colorbar={"thickness": 12, "len": 0.9, "nticks": 5, "title": {"text": "norm", "side": "right"}},
            hovertemplate="norm <b>%{z:.3~g}</b><br>patch row %{y}, column %{x}<extra></extra>",
        )
    )
    stands_out = norms > threshold
    outline(figure, stands_out, STROKES)
    picture.lay_under(figure)  # and its region's outline on top
    figure.add_annotation(
        text=f"{stands_out.sum()} of {norms.size} patches above {threshold:.3g}",
        xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom", showarrow=False,
    )  # fmt: skip
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 28, "b": 4})
    return figure

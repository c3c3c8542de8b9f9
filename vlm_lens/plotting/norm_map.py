"""How long the vectors of a picture's patches are."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import HEAT, template


def norm_map(
    picture: PatchPicture, norms: Float[np.ndarray, "patch_row patch_col"], threshold: float, *, height: int = 480
) -> go.Figure:
    """A heat map of norms over the picture, from the shortest to the longest.

    Args:
        picture: what lies under the map, with the patches above the threshold as its region.
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
    picture.lay_under(figure)
    count = 0 if picture.region is None else int(picture.region.sum())
    figure.add_annotation(
        text=f"{count} of {norms.size} patches above {threshold:.3g}",
        xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom", showarrow=False,
    )  # fmt: skip
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 28, "b": 4})
    return figure

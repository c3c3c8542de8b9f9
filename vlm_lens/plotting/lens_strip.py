"""The logit lens over the picture, layers side by side: how patches turn into words."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import template
from vlm_lens.plotting.top_tokens import TopTokens
from vlm_lens.plotting.word_colours import WordColours


def lens_strip(
    picture: PatchPicture,
    lens: TopTokens,
    streams: Sequence[str],
    *,
    max_panels: int = 8,
    height: int = 210,
) -> go.Figure:
    """Small maps in a row, with the hues of `lens_map`: evenly spaced streams, first and last too.

    Args:
        picture: what lies under each map; its region's outline is left to the large map.
        lens: the best tokens, [stream patch_row patch_col rank].
        streams: the name of each residual stream.
        max_panels: how many maps at most.
        height: pixels.
    """
    assert lens.tokens.shape[:3] == (len(streams), picture.n_rows, picture.n_cols)
    shown = np.unique(np.linspace(0, len(streams) - 1, min(max_panels, len(streams))).round())
    chosen = [int(stream) for stream in shown]
    figure = make_subplots(
        rows=1,
        cols=len(chosen),
        subplot_titles=[escaped(streams[stream]) for stream in chosen],
        horizontal_spacing=0.012,
    )
    colours = WordColours.of(lens)
    bare = PatchPicture(picture.pixels, picture.n_rows, picture.n_cols)
    for panel, stream in enumerate(chosen, start=1):
        figure.add_trace(
            go.Heatmap(
                z=colours.codes(lens[stream]),
                zmin=0,
                zmax=colours.n_codes,
                colorscale=colours.scale(),
                showscale=False,
                customdata=lens[stream][..., :1].hover(),
                hovertemplate="%{customdata}<br>patch row %{y}, column %{x}<extra></extra>",
            ),
            row=1,
            col=panel,
        )
        bare.lay_under(figure, panel)
    figure.update_annotations(font_size=11, yshift=2)
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": 24, "b": 4})
    return figure

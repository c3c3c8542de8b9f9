"""Scores of descriptions when a knockout begins at a layer and holds for all layers behind it."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_lines import interval_lines


def knockout_curves(scores: pd.DataFrame, window: tuple[int, int], *, y_title: str = "F1") -> go.Figure:
    """A line for each knockout over the layer that it begins at; a window of layers shaded.

    The layout of "What's in the image?", 2025, figure 2 (f). The last place is the layer behind the last: nothing is
    blocked there.

    Args:
        scores: tidy rows with `knockout`, `first`, `value`, `low`, `high`.
        window: first and last layer of the window, both in.
        y_title: what is measured.
    """
    places = sorted(scores["first"].unique())
    curves = {}
    for knockout, rows in scores.groupby("knockout", sort=False):
        placed = rows.set_index("first").reindex(places)
        curves[str(knockout)] = placed[["value", "low", "high"]].to_numpy(np.float64)
    figure = interval_lines(
        [str(place) for place in places],
        {"": curves},
        x_title="first layer blocked",
        y_title=y_title,
        ranges={"": (0.0, 1.04)},
        height=400,
    )
    inside = [number for number, place in enumerate(places) if window[0] <= place <= window[1]]
    if inside:
        figure.add_vrect(
            x0=inside[0] - 0.5, x1=inside[-1] + 0.5, fillcolor="rgba(148, 163, 184, 0.14)", line_width=0, layer="below"
        )  # fmt: skip
    return figure

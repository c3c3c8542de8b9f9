"""Scores of descriptions by the share of image tokens that stay visible."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_lines import interval_lines


def scores_by_share(scores: pd.DataFrame, controls: Sequence[str] = (), *, y_title: str = "F1") -> go.Figure:
    """A line for the most attended tokens and one for each control, over the share that is kept.

    The layout of "What's in the image?", 2025, figure 9; shares stand at equal distances, as they were chosen.

    Args:
        scores: tidy rows with `order`, `kept` (the share as text), `share`, `value`, `low`, `high`.
        controls: the orders that are drawn in grey.
        y_title: what is measured.
    """
    places = scores.drop_duplicates("kept").sort_values("share")["kept"].tolist()
    curves = {}
    for order, rows in scores.groupby("order", sort=False):
        curves[str(order)] = rows.set_index("kept").reindex(places)[["value", "low", "high"]].to_numpy(np.float64)
    return interval_lines(
        places,
        {"": curves},
        x_title="image tokens that generated tokens see",
        y_title=y_title,
        controls=controls,
        ranges={"": (0.0, 1.04)},
    )

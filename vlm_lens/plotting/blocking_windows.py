"""A figure for each source of blocked attention, over windows of layers."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_lines import interval_lines


def blocking_windows(figures: pd.DataFrame, y_title: str) -> go.Figure:
    """A line for each source over the windows, with intervals.

    Args:
        figures: tidy rows with `source`, `window`, `value`, `low`, `high`, in the order of the windows.
        y_title: what is measured.
    """
    windows = list(dict.fromkeys(figures["window"]))
    curves = {}
    for source, rows in figures.groupby("source", sort=False):
        placed = rows.set_index("window").reindex(windows)
        curves[str(source)] = placed[["value", "low", "high"]].to_numpy(np.float64)
    return interval_lines(
        windows,
        {"": curves},
        x_title="layers in which attention is blocked",
        y_title=y_title,
        apart=("all",),
        height=460,
    )

"""Answers from what is left of a picture: accuracy of each method, and the tokens that it takes."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_bars import interval_bars


def reprompting_bars(averages: pd.DataFrame, tokens: pd.DataFrame, methods: Sequence[str]) -> go.Figure:
    """Lying bars for ACC and ACC+ of each method, named with the tokens that an answer takes.

    Args:
        averages: tidy rows with `method`, `measure` (ACC, ACC+), `value`, `low`, `high`.
        tokens: tidy rows with `method` and `value`.
        methods: in the order of the table; those that were not run are left out.
    """
    counts = tokens.set_index("method")["value"]
    run = [method for method in methods if method in counts.index]
    named = [f"{method} ({counts[method]:.0f} tokens)" for method in run]
    series = {
        str(measure): group.set_index("method").reindex(run)[["value", "low", "high"]].to_numpy(float)
        for measure, group in averages.groupby("measure", sort=False)
    }
    return interval_bars(named, series, x_title="right, as a mean over tasks")

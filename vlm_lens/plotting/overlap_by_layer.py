"""How well what patches say overlaps with the pixels of parts: by layer, and by label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vlm_lens.plotting.interval_bars import interval_bars
from vlm_lens.plotting.interval_lines import interval_lines
from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import OTHER_COLOUR


def overlap_by_layer(by_layer: pd.DataFrame, levels: pd.DataFrame) -> go.Figure:
    """A line for each way to read the patches over the layers, and a dotted one for what has no layer.

    Args:
        by_layer: tidy rows with `method`, `layer`, `value`, `low`, `high`.
        levels: tidy rows with `model` and `value`.
    """
    layers = sorted(by_layer["layer"].unique())
    curves = {
        str(method): group.set_index("layer").reindex(layers)[["value", "low", "high"]].to_numpy(np.float64)
        for method, group in by_layer.groupby("method", sort=False)
    }
    figure = interval_lines(
        [str(layer) for layer in layers], {"": curves}, x_title="layers read (0: what enters the decoder)",
        y_title="mean intersection over union", height=440,
    )  # fmt: skip
    for place, row in enumerate(levels.sort_values("value").itertuples()):
        figure.add_hline(
            y=row.value,
            line={"color": OTHER_COLOUR, "width": 1, "dash": "dot"},
            annotation={"text": escaped(str(row.model)), "font": {"size": 11, "color": OTHER_COLOUR}},
            annotation_position=("top right", "top left")[place % 2],
        )
    figure.update_yaxes(range=[0, 1.08 * max(levels["value"].max(), by_layer["high"].max(), by_layer["value"].max())])
    return figure


def overlap_by_label(by_label: pd.DataFrame, methods: Sequence[str]) -> go.Figure:
    """Lying bars, a group for each label, the best read first.

    Args:
        by_label: tidy rows with `label`, `method`, `value`, `low`, `high`.
        methods: those that are shown; labels are sorted by the first.
    """
    first = by_label[by_label["method"] == methods[0]].sort_values("value", ascending=False, kind="stable")
    labels = list(first["label"])
    series = {
        method: by_label[by_label["method"] == method].set_index("label").reindex(labels)[["value", "low", "high"]]
        for method in methods
    }
    figure = interval_bars(
        labels, {name: found.to_numpy(np.float64) for name, found in series.items()},
        x_title="intersection over union", height=120 + 20 * len(labels),
    )  # fmt: skip
    figure.update_xaxes(range=[0, 1.05 * np.nanmax([found[["value", "high"]].max() for found in series.values()])])
    return figure

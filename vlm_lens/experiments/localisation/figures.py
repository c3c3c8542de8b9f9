"""Figures 7 and 6: accuracy by layers, and maps with masks and peaks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vlm_lens.experiments.shown_pictures import map_of
from vlm_lens.plotting.interval_lines import interval_lines
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.picture_panels import Panel, picture_panels

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_DETAILS = 5


def accuracy_figure(scores: pd.DataFrame, kinds: Mapping[str, str]) -> "go.Figure":
    """Figure 7: accuracy over windows of layers, with other words and chance in grey.

    Args:
        scores: tidy rows with `layers`, `of`, `value`, `low`, `high`.
        kinds: what `of` can be; the first is the object's own words.
    """
    places = list(dict.fromkeys(scores["layers"]))
    curves = {}
    for name in kinds.values():
        rows = scores[scores["of"] == name].set_index("layers").reindex(places)
        curves[name] = rows[["value", "low", "high"]].to_numpy(np.float64)
    return interval_lines(
        places,
        {"": curves},
        x_title="layers",
        y_title="peak of attention at the object",
        controls=list(kinds.values())[1:],
        ranges={"": (0.0, 1.04)},
    )


def map_figure(rows: pd.DataFrame, pictures: Mapping[str, PatchPicture]) -> "go.Figure":
    """Figure 6: a row for each picture; the picture, then the map of each detail, its mask outlined, its peak crossed.

    Args:
        rows: a row for each patch, with `example`, `detail`, `attention`, `is_object`.
        pictures: by example.
    """
    panels = []
    for example, of_picture in rows.groupby("example", sort=False):
        picture = pictures[str(example)]
        row = [Panel(picture, str(example))]
        for detail, cells in list(of_picture.groupby("detail", sort=False))[:MOST_DETAILS]:
            values, mask = map_of(cells), map_of(cells, "is_object").astype(bool)
            peak = np.unravel_index(values.argmax(), values.shape)
            outlined = PatchPicture(picture.pixels, picture.n_rows, picture.n_cols, mask)
            row.append(Panel(outlined, str(detail), values, (int(peak[0]), int(peak[1]))))
        panels.append(row)
    return picture_panels(panels)

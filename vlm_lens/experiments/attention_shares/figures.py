"""Figures 1, 4 and 8: shares as lines with bands, weights as histograms, maps over pictures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vlm_lens.experiments.attention_shares.reading import BOS, EDGES, GENERATED, IMAGE, TEXT, TEXT_BUT_BOS
from vlm_lens.experiments.shown_pictures import map_of
from vlm_lens.plotting.histogram_by_layer import histogram_by_layer
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.picture_panels import Panel, picture_panels
from vlm_lens.plotting.share_bands import share_bands

if TYPE_CHECKING:
    import plotly.graph_objects as go

N_LAYERS_SHOWN = 6


def shares_figure(shares: pd.DataFrame, text_has_bos: bool | None, n_queries: int) -> "go.Figure":
    """Figure 1: a line for image, query text and generated tokens, with the band of the standard deviation.

    Args:
        shares: tidy, with `layer`, `group`, `value`, `std`.
        text_has_bos: whether begin-of-sequence is part of query text, or a line of its own; None draws the parts of
            query text instead.
        n_queries: over how many tokens.
    """
    if text_has_bos is None:
        groups = [one for one in dict.fromkeys(shares["group"]) if one not in (IMAGE, GENERATED, TEXT, TEXT_BUT_BOS)]
    else:
        groups = [IMAGE, TEXT, GENERATED] if text_has_bos else [IMAGE, TEXT_BUT_BOS, BOS, GENERATED]
        groups = [one for one in groups if one in set(shares["group"])]
    mean, deviation = (
        shares.pivot(index="layer", columns="group", values=one)[groups].to_numpy(float) for one in ("value", "std")
    )
    layers = [str(layer) for layer in sorted(shares["layer"].unique())]
    return share_bands(mean, deviation, groups, layers, n=n_queries)


def weights_figure(rows: pd.DataFrame, n_layers: int) -> "go.Figure":
    """Figure 8: how attention to image tokens is distributed, by layer; bins without any weight at the ends are cut."""
    counts = np.zeros((n_layers, len(EDGES) - 1), int)
    filled = rows[rows["bin"] >= 0].groupby(["layer", "bin"])["count"].sum()
    for (layer, place), count in filled.items():
        counts[layer, place] = count
    used = np.flatnonzero(counts.any(axis=0))
    kept = slice(used[0], used[-1] + 1)
    edges = 10 ** EDGES[kept.start : kept.stop + 1]
    return histogram_by_layer(
        counts[:, kept], edges, [str(layer) for layer in range(n_layers)], quantity="attention to an image token"
    )


def map_figure(rows: pd.DataFrame, pictures: Mapping[str, PatchPicture]) -> "go.Figure":
    """Figure 4: a row for each picture, the picture itself and its maps at some layers, evenly chosen."""
    layers = sorted(rows["layer"].unique())
    chosen = [layers[place] for place in np.unique(np.linspace(0, len(layers) - 1, N_LAYERS_SHOWN).round().astype(int))]
    panels = []
    for example, of_picture in rows.groupby("example", sort=False):
        picture = pictures[str(example)]
        maps = {layer: map_of(of_picture[of_picture["layer"] == layer]) for layer in chosen}
        shown = [Panel(picture, f"layer {layer}", values) for layer, values in maps.items()]
        panels.append([Panel(picture, str(example)), *shown])
    return picture_panels(panels)

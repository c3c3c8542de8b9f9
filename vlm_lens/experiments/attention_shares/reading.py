"""What is kept of the attention that a description was generated with: sums, counts and maps, no rows of tokens."""

from typing import Any

import numpy as np
import torch
from einops import reduce, repeat
from jaxtyping import Float
from torch import Tensor

from vlm_lens.interventions.top_k_context import n_kept
from vlm_lens.probes.attention.flow_reading import FlowReading

EDGES: Float[np.ndarray, " edge"] = np.linspace(-10, 0, 101)
"""Of the histogram's bins, log10 of attention: the same for all pictures, so that counts can be added. The lowest bin
takes what lies below it."""

IMAGE, GENERATED, BOS = "image", "generated", "bos"
TEXT, TEXT_BUT_BOS = "query text", "query text but bos"

TOP = 0.05
"""The share of image tokens whose part of the attention is kept: how long the tail is."""


def share_rows(reading: FlowReading) -> list[dict[str, Any]]:
    """Per layer and group, the mean share over queries and the mean of its square, with the number of queries.

    Groups are the roles, and query text as a whole: every role that is neither image nor generated.
    """
    shares = reduce(reading.shares.double(), "layer query head group -> layer query group", "mean")
    of = {group: shares[..., place] for place, group in enumerate(reading.groups)}
    none = torch.zeros_like(shares[..., 0])
    text = sum((one for group, one in of.items() if group not in (IMAGE, GENERATED)), start=none)
    found = {IMAGE: none, GENERATED: none, **of, TEXT: text, TEXT_BUT_BOS: text - of.get(BOS, none)}
    return [
        {"layer": layer, "group": group, "mean": float(values[place].mean()),
         "square": float(values[place].square().mean()), "n_queries": values.shape[1]}
        for place, layer in enumerate(reading.layers)
        for group, values in found.items()
    ]  # fmt: skip


def histogram_rows(reading: FlowReading, of: str) -> list[dict[str, Any]]:
    """Per layer, how many weights fall into each bin; bins without any are left out; bin -1 counts exact zeros.

    Args:
        reading: of one row.
        of: "means" for a weight of each image token, its mean over queries; "queries" for one of each query and token.
    """
    maps = reading.maps.double().nanmean(dim=2)
    weights = (maps.mean(dim=1) if of == "means" else maps.flatten(1)).numpy()
    rows = []
    for layer, values in zip(reading.layers, weights, strict=True):
        logs = np.log10(values[values > 0]).clip(EDGES[0], EDGES[-1])
        counts = {-1: int((values == 0).sum()), **dict(enumerate(np.histogram(logs, EDGES)[0].tolist()))}
        rows += [{"layer": layer, "bin": place, "count": count} for place, count in counts.items() if count]
    return rows


def tail_rows(reading: FlowReading) -> list[dict[str, Any]]:
    """Per layer, the part of all attention to image tokens that the most attended ones get, by their mean."""
    mean: Float[Tensor, "layer image_pos"] = reading.image_attention[int(reading.rows[0])].double()
    n = max(1, n_kept(TOP, mean.shape[1]))
    parts = (mean.topk(n, dim=1).values.sum(dim=1) / mean.sum(dim=1)).tolist()
    return [
        {"layer": layer, "top_share": part, "n_top": n, "n_image": mean.shape[1]}
        for layer, part in zip(reading.layers, parts, strict=True)
    ]


def map_rows(reading: FlowReading) -> list[dict[str, Any]]:
    """Per layer and patch, the mean attention of all queries and heads."""
    values = reading.map().values.double()
    n_layers, n_rows, n_cols = values.shape
    row = repeat(torch.arange(n_rows), "row -> (row col)", col=n_cols).tolist()
    column = repeat(torch.arange(n_cols), "col -> (row col)", row=n_rows).tolist()
    return [
        {"layer": layer, "patch_row": at, "patch_col": beside, "attention": attention}
        for place, layer in enumerate(reading.layers)
        for at, beside, attention in zip(row, column, values[place].flatten().tolist(), strict=True)
    ]

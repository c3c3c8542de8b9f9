"""How attention to image tokens is distributed, layer by layer."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import InputError, PositionError
from vlm_lens.plotting.histogram_by_layer import histogram_by_layer

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class AttentionHistogram:
    """Counts of attention weights in bins of equal width on a logarithmic scale, the same for all layers.

    Weights of exactly 0 (blocked, or too small for the dtype) have no logarithm and are counted apart.

    Attributes:
        counts: how many weights fall into each bin.
        edges: of the bins, weights, ascending; the last bin holds its upper edge.
        zeros: how many weights are exactly 0.
        layers: the name of each layer.

    Source: Kaduri et al., "What's in the Image?", 2025, figure 8.
    """

    counts: Int[np.ndarray, "layer bin"]
    edges: Float[np.ndarray, " edge"]
    zeros: Int[np.ndarray, " layer"]
    layers: tuple[str, ...]

    @classmethod
    def of(cls, values: Float[Tensor, "layer value"], layers: tuple[str, ...], n_bins: int) -> "AttentionHistogram":
        """The histogram of some weights, NaN left out.

        Raises:
            InputError: less than one bin.
            PositionError: no image token got any attention.
        """
        if n_bins < 1:
            raise InputError("Histogram", "n_bins to be at least 1", n_bins)
        weights = values.double().numpy()
        positive = weights[weights > 0]
        if not positive.size:
            raise PositionError("Histogram of attention to image tokens", "image tokens with attention", "none")
        low, high = np.log10(positive.min()), np.log10(positive.max())
        edges = np.linspace(low, high if high > low else low + 1, n_bins + 1)
        logs = [np.log10(layer[layer > 0]).clip(edges[0], edges[-1]) for layer in weights]
        counts = np.stack([np.histogram(layer, edges)[0] for layer in logs])
        return cls(counts, 10**edges, (weights == 0).sum(axis=1), layers)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a bin: layer, from, to, count."""
        n_layers, n_bins = self.counts.shape
        return pd.DataFrame(
            {
                "layer": np.repeat(np.asarray(self.layers, dtype=object), n_bins),
                "from": np.tile(self.edges[:-1], n_layers),
                "to": np.tile(self.edges[1:], n_layers),
                "count": self.counts.flatten(),
            }
        )

    def plot(self) -> "go.Figure":
        """The distribution of each layer."""
        return histogram_by_layer(self.counts, self.edges, self.layers)

    def __repr__(self) -> str:
        return (
            f"AttentionHistogram({len(self.layers)} layers, {self.counts.shape[1]} bins, {self.counts.sum()} weights)"
        )

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>"

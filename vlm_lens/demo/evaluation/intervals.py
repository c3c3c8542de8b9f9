"""Shares with their 95% intervals."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Z_95 = 1.959963984540054
N_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        value: The figure itself.
        low: Lower end of its 95% interval.
        high: Upper end.
        n: How many scenes or questions it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], N = {self.n}"


def share(n_right: int, n: int) -> Figure:
    """A share with Wilson's score interval (Wilson 1927)."""
    value = n_right / n
    spread = Z_95**2 / n
    center = (value + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(value * (1 - value) / n + spread / (4 * n))
    # Its ends at none and at all are 0 and 1; rounding would print -0.000.
    low = 0.0 if n_right == 0 else center - half
    high = 1.0 if n_right == n else center + half
    return Figure(value, low, high, n)


def mean(values: Float[np.ndarray, " sample"]) -> Figure:
    """A mean with its normal interval."""
    value = float(values.mean())
    half = Z_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Figure(value, value - half, value + half, len(values))


def f1_of_counts(counts: Float[np.ndarray, "scene count"]) -> Figure:
    """F1 over all scenes from their true positives, false positives and misses; bootstrap over scenes."""
    drawn = np.random.default_rng(0).integers(len(counts), size=(N_RESAMPLES, len(counts)))
    low, high = np.quantile(_f1(counts[drawn].sum(1)), [0.025, 0.975])
    (value,) = _f1(counts.sum(0, keepdims=True))
    return Figure(float(value), float(low), float(high), len(counts))


def _f1(totals: Float[np.ndarray, "sample count"]) -> Float[np.ndarray, " sample"]:
    right, wrong, missed = totals.T
    return 2 * right / (2 * right + wrong + missed)

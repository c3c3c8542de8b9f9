"""Means with their intervals: bootstrap over pictures, through scipy.

Rows of one picture are not independent observations, so pictures are drawn, each with all its rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from vlm_lens.errors import InputError

N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A measured figure.

    Attributes:
        value: the figure.
        low: lower end of its 95% interval; NaN where one picture is all there is.
        high: upper end.
        n: how many pictures it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], N = {self.n}"


def mean_over_pictures(
    totals: Float[np.ndarray, " picture"],
    counts: Float[np.ndarray, " picture"] | None = None,
    *,
    seed: int = 0,
    is_binary: bool = True,
) -> Estimate:
    """The mean of rows that come in pictures, with the percentile interval of a bootstrap over the pictures.

    Where every picture says the same, a bootstrap has no width: where all rows are 0, or all 1, Wilson's score interval
    is given instead (scipy's `binomtest`), with each picture as one observation, however many rows it has.

    Args:
        totals: the sum of each picture's rows.
        counts: how many rows each picture has; None for one each. Pictures without rows are left out.
        seed: of the draws.
        is_binary: whether rows are true or false. Measured numbers that are all 0 get no width: Wilson's interval
            would be far wider than that of numbers that are nearly all 0.

    Raises:
        InputError: no picture has a row, or a total that is no number.

    Example:
        >>> mean_over_pictures(np.array([1.0, 1.0, 1.0, 1.0])).low.__round__(3)
        0.51
    """
    return _drawn(totals, counts, seed, is_share=is_binary)


def difference_over_pictures(
    totals: Float[np.ndarray, " picture"],
    baseline: Float[np.ndarray, " picture"],
    counts: Float[np.ndarray, " picture"] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """The mean of each row's difference from the same row of a baseline; pictures are drawn with both.

    Args:
        totals: the sum of each picture's rows under a condition.
        baseline: the same under the baseline.
        counts: how many rows each picture has; None for one each.
        seed: of the draws.

    Raises:
        InputError: other pictures than the baseline's.
    """
    if np.shape(totals) != np.shape(baseline):
        raise InputError("Difference over pictures", f"{np.shape(baseline)} as the baseline", str(np.shape(totals)))
    return _drawn(np.asarray(totals, float) - np.asarray(baseline, float), counts, seed, is_share=False)


def _drawn(
    totals: Float[np.ndarray, " picture"], counts: Float[np.ndarray, " picture"] | None, seed: int, *, is_share: bool
) -> Estimate:
    totals = np.asarray(totals, float)
    counts = np.ones_like(totals) if counts is None else np.asarray(counts, float)
    if np.isnan(totals).any() or np.isnan(counts).any():
        n_nan = int((np.isnan(totals) | np.isnan(counts)).sum())
        raise InputError("Mean over pictures", "a number of each picture", f"{n_nan} NaN")
    totals, counts = totals[counts > 0], counts[counts > 0]
    if not len(totals):
        raise InputError("Mean over pictures", "at least one picture with a row", "none")
    value, n = float(totals.sum() / counts.sum()), len(totals)
    if n == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    if np.ptp(totals / counts) == 0:
        if is_share and value in (0.0, 1.0):
            found = stats.binomtest(round(value * n), n).proportion_ci(LEVEL, method="wilson")
            return Estimate(value, float(found.low), float(found.high), n)
        return Estimate(value, value, value, n)
    low, high = bootstrap_ends((totals, counts), _ratio, seed=seed, vectorized=True)
    return Estimate(value, low, high, n)


def _ratio(
    totals: Float[np.ndarray, "*draw picture"], counts: Float[np.ndarray, "*draw picture"], axis: int = -1
) -> Float[np.ndarray, "*draw"] | float:
    return totals.sum(axis=axis) / counts.sum(axis=axis)


def bootstrap_ends(
    samples: Sequence[np.ndarray],
    statistic: Callable[..., Any],
    *,
    seed: int,
    vectorized: bool = False,
    batch: int | None = None,
) -> tuple[float, float]:
    """Both ends of the 95% percentile interval of a bootstrap, through scipy.

    Args:
        samples: what is drawn from, pictures along the last axis, the same ones from all.
        statistic: of what was drawn of each; with `vectorized` also of many draws at once, along `axis`.
        seed: of the draws.
        vectorized: whether the statistic takes many draws at once.
        batch: how many at once at most; None for all.
    """
    found = stats.bootstrap(
        tuple(samples),
        statistic,
        paired=len(samples) > 1,
        vectorized=vectorized,
        n_resamples=N_RESAMPLES,
        batch=batch,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)

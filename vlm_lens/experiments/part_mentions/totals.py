"""How many texts there are of a kind, with the interval of a bootstrap over the examples that they come from."""

import numpy as np
import pandas as pd
from scipy import stats

from vlm_lens.metrics.intervals import LEVEL, N_RESAMPLES, Estimate


def total_over_examples(counts: pd.Series, n_examples: int, *, seed: int = 0) -> Estimate:
    """The sum of some counts with the percentile interval of a bootstrap over examples.

    Examples of the same count are alike, so a draw of examples is a draw of how many there are of each count: exact,
    and as fast for a million examples as for ten. Where no example has any, the upper end is Wilson's.

    Args:
        counts: of the examples that have some; the others may be left out.
        n_examples: all of them.
        seed: of the draws.
    """
    value = float(counts.sum())
    if n_examples == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    if value == 0:
        upper = stats.binomtest(0, n_examples).proportion_ci(LEVEL, method="wilson").high
        return Estimate(0.0, 0.0, float(upper) * n_examples, n_examples)
    sizes, n_of_size = np.unique(counts[counts > 0].to_numpy(), return_counts=True)
    sizes, n_of_size = np.append(sizes, 0), np.append(n_of_size, n_examples - int(n_of_size.sum()))
    drawn = np.random.default_rng(seed).multinomial(n_examples, n_of_size / n_examples, size=N_RESAMPLES) @ sizes
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), n_examples)

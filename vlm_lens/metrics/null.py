"""What identifiability is where nothing is known: the expected score of a region whose logits are drawn by chance."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import special

from vlm_lens.errors import InputError

N_EXACT, N_SPACED = 64, 300
"""Ranks at which the distribution is worked out one by one, and those spread evenly in their logarithm beyond."""

N_QUANTILES = 200
N_STEPS, N_NODES = 1600, 400
FAR = 9.0
"""Standard deviations behind which a normal distribution has 1e-19 of its mass."""


def null_score(n_patches: int, d_vocab: int, n_aliases: int = 1, logit_std: float = math.inf) -> float:
    """The expected identifiability of a region of chance: the largest score of patches whose logits are random.

    With one alias every rank is as likely as any other, whatever the logits' distribution, and the expectation is an
    exact sum over ranks: `1 - sum over r of (ln r - ln(r - 1)) P(rank >= r)^n / ln V`.

    With k aliases it rises, for two reasons: the label is at least as good as the best of k tokens, and their summed
    probability is larger than that. The first alone does not depend on the distribution of the logits; this is
    `logit_std=inf`, a lower bound. The second does: the flatter the distribution, the more a sum is worth. With a
    finite `logit_std` the logits are independent and normal with that standard deviation, and the distribution of the
    sum of k log-normals is found by quadrature.

    Patches are taken to be independent. Those of a real picture are not: neighbours say alike, so their maximum is
    lower than this null. `permutation_null` keeps them as they are.

    Args:
        n_patches: of the region.
        d_vocab: how many tokens there are.
        n_aliases: tokens whose probabilities are summed under the label.
        logit_std: of the logits of a patch; inf counts the best alias alone.

    Raises:
        InputError: no patch, no alias, fewer tokens than aliases + 1, or a deviation that is not positive.

    Example:
        >>> [round(null_score(n, 32_000), 2) for n in (1, 4, 16, 64)]
        [0.1, 0.2, 0.33, 0.46]
    """
    if n_patches < 1:
        raise InputError("Null of a region", "at least 1 patch", n_patches)
    above = np.power(rank_survival(d_vocab, n_aliases, logit_std)[1:], n_patches)  # of the best patch, ranks from 2
    steps = np.diff(np.log(np.arange(1, len(above) + 2)))
    return float(1 - (steps * above).sum() / math.log(d_vocab))


@lru_cache(maxsize=64)
def rank_survival(d_vocab: int, n_aliases: int = 1, logit_std: float = math.inf) -> Float[np.ndarray, " rank"]:
    """P(rank >= r) of a label of chance at one patch, for r from 1 to d_vocab - n_aliases + 1; see `null_score`.

    Raises:
        InputError: as `null_score`.
    """
    if not 1 <= n_aliases < d_vocab:
        raise InputError("Null of a label", f"1 to {d_vocab - 1} aliases among {d_vocab} tokens", n_aliases)
    if not logit_std > 0:
        raise InputError("Null of a label", "a standard deviation above 0", logit_std)
    if n_aliases == 1 or math.isinf(logit_std):
        survival = _of_the_best(d_vocab, n_aliases)
    else:
        survival = _of_the_sum(d_vocab, n_aliases, logit_std)
    survival.flags.writeable = False  # the cache hands it out again
    return survival


def random_labels(
    sizes: Sequence[int], d_vocab: int, random: np.random.Generator, excluded: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """Labels of chance, as many aliases each as the real ones, no token twice: a null in the model's own logits.

    Given to a `LogitLens` as targets, they show what any label of so many tokens scores in these very patches: neither
    normal logits nor independent patches are assumed.

    Args:
        sizes: the number of aliases of each label.
        d_vocab: how many tokens there are.
        random: draws them.
        excluded: tokens to leave out: the real aliases, those without a text.

    Raises:
        InputError: more aliases than tokens.
    """
    pool = np.setdiff1d(np.arange(d_vocab), np.asarray(excluded, dtype=int))
    if sum(sizes) > len(pool):
        raise InputError("Labels of chance", f"at most {len(pool)} aliases together", sum(sizes))
    drawn = random.choice(pool, size=sum(sizes), replace=False)
    return [tuple(part.tolist()) for part in np.split(drawn, np.cumsum(sizes)[:-1])] if len(sizes) else []


def _of_the_best(d_vocab: int, n_aliases: int) -> Float[np.ndarray, " rank"]:
    """None of the k aliases is among the best r - 1 tokens of a random order."""
    ranks = np.arange(1, d_vocab - n_aliases + 2, dtype=float)
    survival = np.ones_like(ranks)
    for taken in range(n_aliases):
        survival *= (d_vocab - ranks + 1 - taken) / (d_vocab - taken)
    return survival


def _of_the_sum(d_vocab: int, n_aliases: int, logit_std: float) -> Float[np.ndarray, " rank"]:
    """The sum is below the (r - 1)th best of the m other logits, whose upper quantile is Beta(r - 1, m - r + 2)."""
    n_others = d_vocab - n_aliases
    spaced = np.geomspace(2, n_others + 1, N_SPACED).round()
    ranks = np.unique(np.concatenate([np.arange(2.0, min(N_EXACT, n_others + 1) + 1), spaced]))
    middles = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    upper = special.betaincinv(ranks[:, None] - 1, n_others - ranks[:, None] + 2, middles)
    heights, above = _sum_survival(n_aliases, logit_std)
    places = -special.ndtri(np.maximum(upper, np.finfo(float).tiny))
    is_below = 1 - np.exp(np.interp(places, heights, np.log(np.maximum(above, np.finfo(float).tiny))))
    known = np.concatenate([[1.0], is_below.mean(axis=1)])
    return np.interp(np.log(np.arange(1, n_others + 2)), np.log(np.concatenate([[1.0], ranks])), known)


def _sum_survival(n_aliases: int, logit_std: float) -> tuple[np.ndarray, np.ndarray]:
    """P(T > t) of T = ln(sum of exp(std z)) / std over k standard normal z, on a grid of t.

    One alias after the other: the sum exceeds t if the new one does, or else if those before exceed what is left of t.
    """
    heights = np.linspace(-FAR, FAR + math.log(n_aliases) / logit_std, N_STEPS)
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    highest = np.minimum(heights, FAR)[:, None]
    width = (highest + FAR) / 2
    last = -FAR + width * (nodes + 1)  # the new alias, below t
    with np.errstate(divide="ignore"):
        left = heights[:, None] + np.log(-np.expm1(-logit_std * (heights[:, None] - last))) / logit_std
    chances = width * weights * np.exp(-(last**2) / 2) / math.sqrt(2 * math.pi)
    alone = special.ndtr(-heights)
    above = alone
    for _ in range(n_aliases - 1):
        before = np.exp(np.interp(left, heights, np.log(np.maximum(above, np.finfo(float).tiny))))
        above = np.minimum(alone + (chances * before).sum(axis=1), 1.0)
    return heights, above

"""Whether what is named often is identified well: rank correlation over parts of objects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_parts.knockouts import NONE
from vlm_lens.experiments.part_identification.frames import at_layer, joined
from vlm_lens.experiments.result import ExperimentResult
from vlm_lens.metrics.intervals import LEVEL, N_RESAMPLES, Estimate

FEWEST = 4
"""Pairs of which ranks can say something."""


def scores_of(folder: str) -> dict[str, dict[str, list[float]]]:
    """For each class and part the mean score without a knockout, and its mean distance from chance.

    Args:
        folder: of a finished run of part-identification.

    Raises:
        InputError: no such run, one that is not finished, or of another experiment.
    """
    result = ExperimentResult.load(folder)
    if result.spec.experiment != "part-identification":
        raise InputError("Option 'opi'", "a finished run of part-identification", f"one of {result.spec.experiment}")
    frame, _ = at_layer(joined(result.rows), str(result.spec.options["layer"]), int(result.spec.facts["n_layers"]))
    clean = frame[frame["setting"] == NONE].dropna(subset=["score"])
    found: dict[str, dict[str, list[float]]] = {}
    for (category, part), group in clean.groupby(["category", "part"], sort=False):
        above = float((group["score"] - group["chance"]).mean())
        found.setdefault(str(category), {})[str(part)] = [float(group["score"].mean()), above]
    return found


def paired(counts: pd.DataFrame, any_text: str, scores: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The parts of objects that have both a frequency and a score.

    Args:
        counts: tidy rows with `part`, `object`, `value`.
        any_text: what stands for an object in the rows of parts at all.
        scores: of `scores_of`.

    Returns:
        `object`, `part`, `count` (texts that name both), `part_count` (that name the part), `score`, `above`.
    """
    alone = counts[counts["object"] == any_text].set_index("part")["value"]
    rows = [
        {"object": row.object, "part": row.part, "count": row.value, "part_count": alone[row.part],
         "score": scores[row.object][row.part][0], "above": scores[row.object][row.part][1]}
        for row in counts.itertuples()
        if row.part in scores.get(row.object, {})
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["object", "part", "count", "part_count", "score", "above"])


def rank_correlation(
    one: Float[np.ndarray, " pair"], other: Float[np.ndarray, " pair"], *, seed: int = 0
) -> Estimate | None:
    """Spearman's correlation with the percentile interval of a bootstrap over the pairs.

    Draws in which all values of one side are equal say nothing and are left out.

    Returns:
        None for fewer pairs than ranks can say something of, or where one side has one value alone.
    """
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    index = np.random.default_rng(seed).integers(0, len(one), (N_RESAMPLES, len(one)))
    ranks, others = (stats.rankdata(values[index], axis=1) for values in (one, other))
    says = (np.ptp(ranks, axis=1) > 0) & (np.ptp(others, axis=1) > 0)
    drawn = stats.pearsonr(ranks[says], others[says], axis=1).statistic
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(stats.spearmanr(one, other).statistic), float(low), float(high), len(one))

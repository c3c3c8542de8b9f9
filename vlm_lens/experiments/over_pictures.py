"""Means of rows with intervals over pictures, for each group of rows."""

from collections.abc import Sequence

import pandas as pd

from vlm_lens.experiments.summary import figures_of
from vlm_lens.metrics.intervals import difference_over_pictures, mean_over_pictures


def means(
    rows: pd.DataFrame, value: str, by: str | Sequence[str], *, seed: int = 0, is_binary: bool = True
) -> pd.DataFrame:
    """The mean of a column for each group, in order of appearance, with its interval over pictures.

    Args:
        rows: with the column `example`. Rows without a value are left out.
        value: the column.
        by: the column, or columns, that make a group.
        seed: of the bootstrap.
        is_binary: whether rows are true or false; see `mean_over_pictures`.

    Returns:
        A row for each group: the columns of `by`, then `value`, `low`, `high`, `n` (pictures).
    """
    by = [by] if isinstance(by, str) else list(by)
    found = []
    for key, group in rows.dropna(subset=[value]).groupby(by, sort=False, dropna=False):
        per = group[value].astype(float).groupby(group["example"], sort=False).agg(["sum", "count"])
        estimate = mean_over_pictures(
            per["sum"].to_numpy(), per["count"].to_numpy(float), seed=seed, is_binary=is_binary
        )
        found.append({**dict(zip(by, key, strict=True)), **figures_of(estimate)})
    return pd.DataFrame(found, columns=[*by, "value", "low", "high", "n"])


def differences(
    rows: pd.DataFrame, value: str, by: str | Sequence[str], baseline: str, *, seed: int = 0
) -> pd.DataFrame:
    """For each group the mean difference of a column from a column of the same rows, paired, with its interval.

    Args:
        rows: with the columns `example`, `value` and `baseline`.
        value: the column.
        by: the column, or columns, that make a group.
        baseline: the column with what the same row has without the condition.
        seed: of the bootstrap.
    """
    by = [by] if isinstance(by, str) else list(by)
    found = []
    for key, group in rows.dropna(subset=[value, baseline]).groupby(by, sort=False, dropna=False):
        pictures = group.assign(value=group[value].astype(float), baseline=group[baseline].astype(float))
        per = pictures.groupby("example", sort=False).agg(
            value=("value", "sum"), baseline=("baseline", "sum"), rows=("value", "count")
        )  # fmt: skip
        counts = per["rows"].to_numpy(float)
        estimate = difference_over_pictures(per["value"].to_numpy(), per["baseline"].to_numpy(), counts, seed=seed)
        found.append({**dict(zip(by, key, strict=True)), **figures_of(estimate)})
    return pd.DataFrame(found, columns=[*by, "value", "low", "high", "n"])

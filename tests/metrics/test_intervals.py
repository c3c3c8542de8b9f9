"""Means and their intervals: by hand, against a loop over drawn pictures and scipy, and by how often they are right."""

import numpy as np
import pytest
from scipy import stats

from vlm_lens.errors import InputError
from vlm_lens.metrics.intervals import N_RESAMPLES, Estimate, difference_over_pictures, mean_over_pictures


def rows_of_pictures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The sums and counts of 1 to 5 rows a picture, alike within a picture."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, n).astype(float)
    return counts * random.normal(2.0, 1.0, n), counts


def test_the_mean_is_of_rows_and_n_is_of_pictures() -> None:
    """(1 + 2 + 3) of three rows, 10 of one row; the picture without rows is left out."""
    found = mean_over_pictures(np.array([6.0, 0.0, 10.0]), np.array([3.0, 0.0, 1.0]))
    assert found.value == 4.0 and found.n == 2
    # Of two pictures four draws are as likely: both the first (2), both the second (10), and twice one of each (4).
    assert (found.low, found.high) == (2.0, 10.0)


def test_the_interval_is_that_of_a_loop_over_the_same_draws() -> None:
    """scipy draws the pictures of all resamples at once from the generator."""
    totals, counts = rows_of_pictures(20)
    found = mean_over_pictures(totals, counts, seed=5)
    drawn = np.random.default_rng(5).integers(0, 20, (N_RESAMPLES, 20))
    by_hand = [sum(totals[one] for one in draw) / sum(counts[one] for one in draw) for draw in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])), abs=1e-12)


def test_one_row_a_picture_is_the_plain_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(1).normal(size=25)
    found = mean_over_pictures(values, seed=9)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=N_RESAMPLES, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.value == pytest.approx(values.mean())


def test_a_seed_gives_the_same_interval_and_another_seed_another() -> None:
    totals, counts = rows_of_pictures(20)
    assert mean_over_pictures(totals, counts, seed=1) == mean_over_pictures(totals, counts, seed=1)
    assert mean_over_pictures(totals, counts, seed=1) != mean_over_pictures(totals, counts, seed=2)


def test_rows_of_a_picture_are_not_independent() -> None:
    """Five rows that say the same are one picture's word: the interval is that of one row a picture."""
    values = np.random.default_rng(2).normal(size=30)
    once, five_times = mean_over_pictures(values), mean_over_pictures(values * 5, np.full(30, 5.0))
    assert (five_times.low, five_times.high) == pytest.approx((once.low, once.high))


def covered(make: object, truth: float, n_trials: int = 300) -> float:
    """How often the interval of one of many repeated studies holds the truth."""
    intervals = [make(np.random.default_rng(trial)) for trial in range(n_trials)]
    return float(np.mean([one.low <= truth <= one.high for one in intervals]))


def test_nineteen_of_twenty_studies_hold_the_truth() -> None:
    """40 pictures of several rows each, alike within a picture; a standard error of 0.013 over 300 studies.

    A percentile interval of 40 pictures falls a little short of its 95%.
    """

    def study(random: np.random.Generator) -> Estimate:
        counts = random.integers(1, 6, 40).astype(float)
        return mean_over_pictures(counts * random.normal(2.0, 1.0, 40), counts)

    assert 0.90 <= covered(study, 2.0) <= 0.97


def test_the_difference_is_paired() -> None:
    """Pictures differ much, a condition little: paired, its interval is narrow, and holds the truth as often."""

    def study(random: np.random.Generator) -> Estimate:
        baseline = random.normal(0.0, 10.0, 40)
        return difference_over_pictures(baseline + random.normal(0.5, 1.0, 40), baseline)

    assert 0.90 <= covered(study, 0.5) <= 0.97
    found = study(np.random.default_rng(0))
    assert 0.4 < found.high - found.low < 0.9


def test_the_difference_of_rows_is_the_mean_of_differences() -> None:
    totals, counts = rows_of_pictures(15)
    baseline, _ = rows_of_pictures(15, seed=4)
    found = difference_over_pictures(totals, baseline, counts, seed=3)
    assert found == mean_over_pictures(totals - baseline, counts, seed=3)
    assert found.value == pytest.approx((totals.sum() - baseline.sum()) / counts.sum())


@pytest.mark.parametrize(("value", "n"), [(1.0, 4), (0.0, 4), (1.0, 40)])
def test_pictures_that_all_say_the_same_have_wilsons_interval(value: float, n: int) -> None:
    found = mean_over_pictures(np.full(n, value))
    # Wilson: at a share of 1 the lower end is n / (n + z^2).
    low = n / (n + stats.norm.ppf(0.975) ** 2)
    expected = (low, 1.0) if value else (0.0, 1 - low)
    assert (found.value, found.n) == (value, n)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_what_is_no_share_has_no_width_where_all_pictures_agree() -> None:
    assert mean_over_pictures(np.full(5, 3.0)) == Estimate(3.0, 3.0, 3.0, 5)
    assert mean_over_pictures(np.zeros(5), is_binary=False) == Estimate(0.0, 0.0, 0.0, 5)
    assert mean_over_pictures(np.full(5, 6.0), np.full(5, 2.0)) == Estimate(3.0, 3.0, 3.0, 5)  # two rows a picture


def test_pictures_with_several_rows_that_all_agree_count_as_one_observation_each() -> None:
    assert mean_over_pictures(np.full(5, 2.0), np.full(5, 2.0)) == mean_over_pictures(np.full(5, 1.0))
    assert difference_over_pictures(np.ones(5), np.zeros(5)) == Estimate(1.0, 1.0, 1.0, 5)


def test_one_picture_has_no_interval() -> None:
    found = mean_over_pictures(np.array([3.0, 0.0]), np.array([2.0, 0.0]))
    assert (found.value, found.n) == (1.5, 1) and np.isnan([found.low, found.high]).all()


def test_an_estimate_is_told_with_its_interval_and_its_number() -> None:
    assert str(Estimate(0.66666, 0.5, 0.80555, 39)) == "0.667 [0.500, 0.806], N = 39"


def test_what_is_no_mean_is_refused() -> None:
    with pytest.raises(InputError, match="at least one picture with a row"):
        mean_over_pictures(np.array([]))
    with pytest.raises(InputError, match="at least one picture with a row"):
        mean_over_pictures(np.array([0.0]), np.array([0.0]))
    with pytest.raises(InputError, match="1 NaN"):
        mean_over_pictures(np.array([1.0, np.nan]))

"""Shares, means and F1 with intervals that mean what they say."""

import numpy as np
import pytest

from vlm_lens.demo.evaluation.intervals import f1_of_counts, mean, share


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263, Wilson's score interval without continuity correction
    figure = share(81, 263)
    assert (round(figure.low, 4), round(figure.high, 4)) == (0.2553, 0.3662)


def test_a_share_of_all_has_an_interval_below_one() -> None:
    figure = share(50, 50)
    assert figure.value == 1.0
    assert 0.9 < figure.low < 1.0
    assert figure.high == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 10, 16, 40, 1000])
def test_no_share_leaves_its_bounds_by_rounding(n: int) -> None:
    assert str(share(0, n)).startswith("0.000 [0.000, ")
    assert share(0, n).low == 0.0 and share(n, n).high == 1.0
    assert share(0, n).high == pytest.approx(1.0 - share(n, n).low)


def test_the_interval_of_a_mean_covers_it_in_95_of_100_draws() -> None:
    random = np.random.default_rng(0)
    figures = [mean(random.normal(3.0, 2.0, size=60)) for _ in range(800)]
    covered = np.mean([figure.low <= 3.0 <= figure.high for figure in figures])
    assert 0.92 < covered < 0.975


def test_f1_is_the_harmonic_mean_of_precision_and_recall_over_all_scenes() -> None:
    counts = np.array([[2, 1, 0], [1, 0, 2], [3, 0, 0]], dtype=np.float64)
    precision, recall = 6 / 7, 6 / 8
    figure = f1_of_counts(counts)
    assert figure.value == pytest.approx(2 * precision * recall / (precision + recall))
    assert figure.low <= figure.value <= figure.high
    assert figure.n == 3

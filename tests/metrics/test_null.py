"""The analytic null, against sums written out and against random logits put through the score itself."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch

from vlm_lens.errors import InputError
from vlm_lens.metrics.identifiability import identifiability, label_ranks
from vlm_lens.metrics.null import null_score, random_labels, rank_survival

SIZES = (1, 4, 16, 64)
D_VOCAB = 32_000


def simulated(d_vocab: int, n_aliases: int, std: float, n_labels: int, n_places: int = 3200) -> dict[int, float]:
    """Mean scores of regions of chance: normal logits, ranked and scored as a model's are."""
    random = torch.Generator().manual_seed(1)
    labels = [range(one * n_aliases, (one + 1) * n_aliases) for one in range(n_labels)]
    parts = [
        identifiability(label_ranks(torch.randn(100, d_vocab, generator=random) * std, labels).numpy(), d_vocab)
        for _ in range(n_places // 100)
    ]
    scores = np.concatenate(parts)
    return {n: float(scores.reshape(-1, n, n_labels).max(axis=1).mean()) for n in SIZES}


def test_the_figures_of_uniform_ranks() -> None:
    for n_patches, figure in zip(SIZES, (0.10, 0.20, 0.33, 0.46), strict=True):
        assert null_score(n_patches, D_VOCAB) == pytest.approx(figure, abs=0.005)


def test_random_logits_of_a_whole_vocabulary_give_the_analytic_null() -> None:
    found = simulated(D_VOCAB, 1, 1.0, n_labels=12, n_places=1600)
    for n_patches in SIZES:
        assert found[n_patches] == pytest.approx(null_score(n_patches, D_VOCAB), abs=0.01)


@pytest.mark.parametrize("n_patches", [1, 2, 3])
def test_the_sum_over_ranks_is_the_mean_over_all_draws_of_a_small_vocabulary(n_patches: int) -> None:
    d_vocab = 6
    draws = np.stack(np.meshgrid(*[np.arange(1, d_vocab + 1)] * n_patches), axis=-1).reshape(-1, n_patches)
    by_hand = np.mean(1 - np.log(draws.min(axis=1)) / math.log(d_vocab))
    assert null_score(n_patches, d_vocab) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("n_aliases", [1, 2, 3])
def test_the_best_of_several_aliases_has_its_rank_among_all_orders(n_aliases: int) -> None:
    """Every set of places that the aliases can have among 7 tokens is as likely; the best of them is the rank."""
    firsts = [min(places) + 1 for places in combinations(range(7), n_aliases)]
    for rank, found in enumerate(rank_survival(7, n_aliases), start=1):
        assert found == pytest.approx(float(Fraction(sum(one >= rank for one in firsts), len(firsts))), abs=1e-12)
    assert len(rank_survival(7, n_aliases)) == max(firsts)


@pytest.mark.parametrize(("n_aliases", "std"), [(2, 3.0), (4, 2.0), (4, 1.0), (3, 0.5), (8, 4.0)])
def test_random_logits_with_aliases_give_the_null_of_their_deviation(n_aliases: int, std: float) -> None:
    """Regions of 64 patches: 50 for each of 40 labels, whose mean has a standard error of 0.003 at most."""
    found = simulated(1000, n_aliases, std, n_labels=40)
    for n_patches in SIZES:
        assert found[n_patches] == pytest.approx(null_score(n_patches, 1000, n_aliases, std), abs=0.01)


def test_the_null_rises_with_patches_and_with_aliases() -> None:
    for std in (math.inf, 3.0, 1.0):
        table = np.array([[null_score(n, 5000, k, std) for n in SIZES] for k in (1, 2, 4, 8)])
        assert (np.diff(table, axis=0) > 0.01).all() and (np.diff(table, axis=1) > 0.01).all()


def test_the_flatter_the_logits_the_more_a_sum_is_worth() -> None:
    rising = [null_score(4, 5000, 4, std) for std in (math.inf, 8.0, 4.0, 2.0, 1.0, 0.5)]
    assert (np.diff(rising) > 0).all()
    assert null_score(4, 5000, 4, 1e-2) == pytest.approx(1.0)  # four times what each other token has: always the first


def test_steep_logits_count_the_best_alias_alone() -> None:
    assert null_score(16, 2000, 4, 60.0) == pytest.approx(null_score(16, 2000, 4), abs=1e-3)


def test_one_alias_asks_for_no_deviation() -> None:
    np.testing.assert_array_equal(rank_survival(50, 1, 2.0), np.arange(50, 0, -1) / 50)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 100), "at least 1 patch"),
        ((1, 100, 0), "1 to 99 aliases"),
        ((1, 100, 100), "1 to 99 aliases"),
        ((1, 100, 2, 0.0), "standard deviation above 0"),
        ((1, 100, 2, math.nan), "standard deviation above 0"),
    ],
)
def test_a_null_of_nothing_is_refused(given: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        null_score(*given)


def test_labels_of_chance_have_the_sizes_of_the_real_ones_and_share_no_token() -> None:
    found = random_labels([4, 1, 6], 20, np.random.default_rng(0), excluded=[0, 1, 2])
    tokens = [one for label in found for one in label]
    assert [len(label) for label in found] == [4, 1, 6] and len(set(tokens)) == 11
    assert min(tokens) >= 3 and max(tokens) < 20
    assert found == random_labels([4, 1, 6], 20, np.random.default_rng(0), excluded=[0, 1, 2])
    assert random_labels([], 20, np.random.default_rng(0)) == []
    with pytest.raises(InputError, match="at most 5 aliases together"):
        random_labels([4, 4], 8, np.random.default_rng(0), excluded=[0, 1, 2])

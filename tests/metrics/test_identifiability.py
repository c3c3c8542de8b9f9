"""Ranks and scores of labels, against counting written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from vlm_lens.errors import InputError
from vlm_lens.metrics.identifiability import identifiability, label_ranks, region_score


def test_a_label_worked_out_by_hand() -> None:
    """The aliases 0.15 and 0.15 are 0.30 together: behind 0.40, ahead of 0.20 and 0.10."""
    logits = torch.tensor([0.15, 0.40, 0.15, 0.20, 0.10]).log()
    assert label_ranks(logits, [[0, 2], [0], [1], [4], [3]]).tolist() == [2, 3, 1, 5, 2]


def test_all_tokens_alike_share_the_first_rank() -> None:
    assert label_ranks(torch.zeros(3, 8), [[1], [2, 3]]).tolist() == [[1, 1]] * 3


def test_log_probabilities_and_logits_rank_alike() -> None:
    logits = torch.randn(40, 60)
    labels = [[1, 2, 3], [4]]
    assert torch.equal(label_ranks(logits, labels), label_ranks(logits.log_softmax(dim=-1), labels))


@given(some.data())
def test_a_rank_counts_the_more_probable_tokens_outside_the_label(data: some.DataObject) -> None:
    n_tokens = data.draw(some.integers(2, 10))
    row = data.draw(some.lists(some.integers(1, 9), min_size=n_tokens, max_size=n_tokens))
    label = data.draw(some.lists(some.integers(0, n_tokens - 1), min_size=1, unique=True))
    (found,) = label_ranks(torch.tensor(row).double().log().float(), [label]).tolist()
    own = sum(row[one] for one in label)
    others = [value for one, value in enumerate(row) if one not in label]
    # Whole numbers: what is not a tie is apart by a ninth at least.
    above, alike = sum(other > own for other in others), sum(other == own for other in others)
    assert 1 + above <= found <= 1 + above + alike


@pytest.mark.parametrize("memory", [1, 5000, 2**28])
@pytest.mark.parametrize("merged", [True, False])
def test_axes_of_places_stay_and_memory_changes_nothing(memory: int, merged: bool) -> None:
    logits, labels = torch.randn(3, 4, 5, 70), [[1, 2], [5, 9, 11], [40]]
    found = label_ranks(logits, labels, merged=merged, memory=memory)
    assert found.shape == (3, 4, 5, 3)
    assert torch.equal(found[1, 2, 3], label_ranks(logits[1, 2, 3], labels, merged=merged))


def test_places_without_labels_and_labels_without_places() -> None:
    assert label_ranks(torch.randn(4, 9), []).shape == (4, 0)
    assert label_ranks(torch.randn(0, 9), [[1]]).shape == (0, 1)


@pytest.mark.parametrize(
    ("labels", "merged", "said"),
    [
        ([[]], False, "at least one token id"),
        ([[1, 1]], False, "each once"),
        ([[9]], False, "ids from 0 to 8"),
        ([[-1]], False, "ids from 0 to 8"),
        ([[1, 2], [2]], True, "no alias of two labels"),
    ],
)
def test_labels_that_are_none_are_refused(labels: list[list[int]], merged: bool, said: str) -> None:
    with pytest.raises(InputError, match=said):
        label_ranks(torch.randn(9), labels, merged=merged)


def test_an_alias_of_two_labels_is_welcome_where_they_are_not_merged() -> None:
    assert label_ranks(torch.tensor([3.0, 2.0, 1.0]), [[1, 2], [2]]).tolist() == [2, 3]


def test_the_score_is_one_for_the_first_rank_and_zero_for_the_last() -> None:
    found = identifiability(np.array([[1, 32_000], [178, 2]]), 32_000)
    by_hand = [[1.0, 0.0], [1 - math.log(178) / math.log(32_000), 1 - math.log(2) / math.log(32_000)]]
    np.testing.assert_allclose(found, by_hand, atol=1e-12)
    assert found[1, 0] == pytest.approx(0.5005, abs=1e-4)


@pytest.mark.parametrize("rank", [0, 101])
def test_a_rank_that_does_not_exist_is_refused(rank: int) -> None:
    with pytest.raises(InputError, match="ranks from 1 to 100"):
        identifiability(np.array([3, rank]), 100)


def test_a_region_scores_as_its_best_patch_in_every_state() -> None:
    scores = np.arange(24.0).reshape(2, 3, 4)
    region = np.zeros((3, 4), bool)
    region[0, 3] = region[1, 1] = True
    assert region_score(scores, region).tolist() == [5.0, 17.0]
    assert float(region_score(scores[0], region)) == 5.0


def test_a_region_that_cannot_be_scored_is_refused() -> None:
    scores = np.zeros((2, 3, 4))
    scores[0, 1, 1] = np.nan
    one = np.zeros((3, 4), bool)
    with pytest.raises(InputError, match="at least one patch"):
        region_score(scores, one)
    one[1, 1] = True
    with pytest.raises(InputError, match="patches that were read"):
        region_score(scores, one)
    with pytest.raises(InputError, match="the grid of the scores"):
        region_score(scores, one.T)

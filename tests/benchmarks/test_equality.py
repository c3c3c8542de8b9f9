"""What counts as the same output."""

import pytest
import torch

from benchmarks.equality import RANKS, STEP_LOGITS, TOKENS, Unequal, deviation, relative


def test_a_difference_counts_in_the_largest_reference_value() -> None:
    assert relative(torch.tensor([1.0, -4.0]), torch.tensor([1.5, -4.0])) == pytest.approx(0.125)


def test_infinities_must_stand_at_the_same_places() -> None:
    scores = torch.tensor([1.0, -torch.inf])
    assert relative(scores, scores) == 0
    assert relative(torch.tensor([1.0, 2.0]), scores) == float("inf")


def test_what_is_no_number_is_never_equal() -> None:
    with pytest.raises(Unequal):
        deviation([{"logits": torch.tensor([torch.nan])}], [{"logits": torch.tensor([1.0])}], 0.1)


def test_outputs_without_a_shared_name_prove_nothing() -> None:
    with pytest.raises(Unequal, match="shares no output"):
        deviation([{"a": torch.ones(1)}], [{"b": torch.ones(1)}], 0.1)


def test_tokens_may_part_only_where_the_choice_was_a_tie() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.9999, 0.0]])
    reference = {TOKENS: torch.tensor([0, 0]), STEP_LOGITS: logits}
    assert deviation([{TOKENS: torch.tensor([0, 1])}], [reference], 1e-3) == 0
    with pytest.raises(Unequal, match="token 0"):
        deviation([{TOKENS: torch.tensor([2, 1])}], [reference], 1e-3)


def test_logits_are_compared_up_to_the_step_where_tokens_part() -> None:
    reference = {TOKENS: torch.tensor([0, 0, 1]), STEP_LOGITS: torch.tensor([[1.0, 0.0], [1.0, 0.9999], [0.0, 1.0]])}
    other = {TOKENS: torch.tensor([0, 1, 0]), STEP_LOGITS: torch.tensor([[1.0, 0.0], [1.0, 1.0], [5.0, 1.0]])}
    assert deviation([other], [reference], 1e-3) <= 1e-3


def test_ranks_may_change_places_with_neighbours_alone() -> None:
    ranks = torch.arange(1, 200)
    assert deviation([{RANKS: ranks + 1}], [{RANKS: ranks}], 1e-5) == 0
    with pytest.raises(Unequal, match="ranks"):
        deviation([{RANKS: ranks.flip(0)}], [{RANKS: ranks}], 1e-5)

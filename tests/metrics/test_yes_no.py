"""Yes and no as they are read, and the shares of right answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sklearn.metrics import accuracy_score

from vlm_lens.errors import InputError
from vlm_lens.metrics.yes_no import yes_no_scores, yes_or_no


@pytest.mark.parametrize(
    ("text", "by_words", "first_four", "anywhere"),
    [
        ("Yes", "yes", "yes", "yes"),
        (" No, there is not.", "no", "no", "no"),
        ("yes.", "yes", "yes", "yes"),
        ("The answer is Yes.", "yes", None, "yes"),  # behind the fourth character
        ("Not sure", None, "no", "no"),  # no word, but letters
        ("None of them", None, "no", "no"),
        ("I know it", None, None, "no"),
        ("Yesterday", None, "yes", "yes"),
        ("\nYes", "yes", "yes", "yes"),
        ("  \n Yes", "yes", None, "yes"),
        ("No. I cannot say yes.", "no", "no", "yes"),
        ("There is no cat, yes", "no", None, "yes"),
        ("", None, None, "no"),
        ("NO", "no", "no", "no"),
        ("The noyes", None, None, "yes"),
    ],
)
def test_how_each_rule_reads_an_answer(text: str, by_words: str | None, first_four: str | None, anywhere: str) -> None:
    assert yes_or_no(text) == by_words
    assert yes_or_no(text, "first four") == first_four
    assert yes_or_no(text, "anywhere") == anywhere


def test_another_rule_is_refused() -> None:
    with pytest.raises(InputError, match="one of words, first four, anywhere"):
        yes_or_no("Yes", "loosely")


def test_both_questions_of_a_picture_must_be_right() -> None:
    """Pictures a (2 of 2), b (1 of 2), c (0 of 2), d (1 of 1), their questions mixed."""
    pictures = ["a", "b", "c", "a", "b", "d", "c"]
    found = yes_no_scores(pictures, [True, True, False, True, False, True, False])
    assert found.pictures == ("a", "b", "c", "d")
    assert found.n_questions.tolist() == [2, 2, 2, 1] and found.n_right.tolist() == [2, 1, 0, 1]
    assert found.accuracy == pytest.approx(4 / 7) and found.accuracy_plus == 0.5
    assert found.is_all_right.tolist() == [1, 0, 0, 1]


@given(some.lists(some.tuples(some.integers(0, 5), some.booleans(), some.booleans()), min_size=1, max_size=30))
def test_accuracy_is_scikit_learns_and_accuracy_plus_is_never_more_than_the_worst_picture_allows(
    rows: list[tuple[int, bool, bool]],
) -> None:
    pictures, right_answers, answers = zip(*rows, strict=True)
    is_right = [one == other for one, other in zip(right_answers, answers, strict=True)]
    found = yes_no_scores(pictures, is_right)
    assert found.accuracy == pytest.approx(accuracy_score(right_answers, answers))
    by_hand = [all(ok for other, ok in zip(pictures, is_right, strict=True) if other == one) for one in set(pictures)]
    assert found.accuracy_plus == pytest.approx(np.mean(by_hand))


def test_answers_by_chance_have_half_and_a_quarter() -> None:
    random = np.random.default_rng(0)
    found = yes_no_scores(np.repeat(np.arange(4000), 2).tolist(), (random.random(8000) < 0.5).tolist())
    assert found.accuracy == pytest.approx(0.5, abs=0.02) and found.accuracy_plus == pytest.approx(0.25, abs=0.025)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(InputError, match="for each question"):
        yes_no_scores([], [])
    with pytest.raises(InputError, match="2 and 1"):
        yes_no_scores(["a", "a"], [True])

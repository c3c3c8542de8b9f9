"""Precision, recall and F1 of counts, against scikit-learn and by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from vlm_lens.errors import InputError
from vlm_lens.metrics import f1

COUNTS = st.integers(0, 12)


@given(COUNTS, COUNTS, COUNTS)
def test_counts_give_what_scikit_learn_gives_for_the_decisions(true: int, extra: int, missed: int) -> None:
    labels, said = [1] * true + [0] * extra + [1] * missed, [1] * (true + extra) + [0] * missed
    if not labels:
        return
    expected = precision_recall_fscore_support(labels, said, average="binary", zero_division=0)[:3]
    found = [figure(true, extra, missed) for figure in (f1.precision, f1.recall, f1.f1)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_nothing_to_find_and_nothing_found_is_agreement() -> None:
    assert (f1.precision(0, 0, 0), f1.recall(0, 0, 0), f1.f1(0, 0, 0)) == (1.0, 1.0, 1.0)


def test_the_example_of_the_paper() -> None:
    assert f1.precision(5, 0, 4) == 1.0
    assert f1.recall(5, 0, 4) == pytest.approx(0.555, abs=1e-3)
    assert f1.f1(5, 0, 4) == pytest.approx(2 * 5 / 9 / (1 + 5 / 9))


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match="counts of 0 or more"):
        f1.f1(1, -1, 0)

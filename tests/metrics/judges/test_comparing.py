"""How the offline judge matches the objects of two captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.metrics.judges.agreement import labelled_pairs
from vlm_lens.metrics.judges.judge import Comparison, NamedObject
from vlm_lens.metrics.judges.object_list import ObjectListJudge

JUDGE = ObjectListJudge()
CAPTIONS = sorted({caption for pair in labelled_pairs() for caption in (pair.reference, pair.candidate)})


def told(reference: str, candidate: str) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    found = JUDGE.compare(reference, candidate)
    matched = [(one.name, other.name) for one, other in found.matched]
    return matched, [one.name for one in found.lost], [one.name for one in found.invented]


def test_the_example_of_the_paper_is_counted_as_there() -> None:
    """Appendix B counts trees and bushes as one; here they are two, so one more is lost."""
    pair = labelled_pairs()[0]
    found = JUDGE.compare(pair.reference, pair.candidate)
    assert {str(one) for one in found.lost} == {"jersey", "shorts", "shoe", "horse", "bush"}
    assert found.counts == (5, 0, 5)
    assert (found.precision, found.recall) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ("a couch", "a sofa"),
        ("a bike", "a bicycle"),
        ("a TV", "a television"),
        ("a man", "a cyclist"),
        ("a rose", "flowers"),
    ],
)
def test_synonyms_and_broader_names_match(reference: str, candidate: str) -> None:
    matched, lost, invented = told(reference, candidate)
    assert len(matched) == 1 and not lost and not invented


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [("a man", "a woman"), ("a skier", "a cyclist"), ("a car", "a truck"), ("a hot dog", "a dog"),
     ("a teddy bear", "a bear"), ("a boy", "a woman"), ("an apple", "a banana")],
)  # fmt: skip
def test_different_things_do_not_match(reference: str, candidate: str) -> None:
    matched, lost, invented = told(reference, candidate)
    assert not matched and len(lost) == len(invented) == 1


def test_a_broader_name_in_the_plural_covers_several() -> None:
    assert told("a boy and a girl", "two children") == ([("boy", "child"), ("girl", "child")], [], [])
    assert told("two children", "a boy and a girl") == ([("child", "boy"), ("child", "girl")], [], [])


def test_a_broader_name_in_the_singular_covers_one() -> None:
    matched, lost, _ = told("a boy and a girl", "a child")
    assert len(matched) == 1 and len(lost) == 1


def test_equal_names_are_partners_before_broader_ones() -> None:
    matched, lost, invented = told("a person and a man", "a man and a dog")
    assert matched == [("man", "man")] and lost == ["person"] and invented == ["dog"]


@given(st.sampled_from(CAPTIONS), st.sampled_from(CAPTIONS))
def test_swapping_the_captions_swaps_what_is_lost_and_invented(reference: str, candidate: str) -> None:
    there, back = JUDGE.compare(reference, candidate), JUDGE.compare(candidate, reference)
    assert there.counts == (back.counts[0], back.counts[2], back.counts[1])
    assert (there.precision, there.recall, there.f1) == (back.recall, back.precision, pytest.approx(back.f1))


def test_a_caption_agrees_with_itself() -> None:
    for caption in CAPTIONS:
        found = JUDGE.compare(caption, caption)
        assert found.f1 == 1.0 and not found.lost and not found.invented, caption
        assert all(one == other for one, other in found.matched), caption


def test_nothing_against_nothing_says_so() -> None:
    found = JUDGE.compare("", "The sky is blue.")
    assert found.is_empty and found.f1 == 1.0
    assert not JUDGE.compare("", "A dog.").is_empty and JUDGE.compare("", "A dog.").f1 == 0.0


def test_a_comparison_as_a_row_is_flat() -> None:
    bike, bicycle, hat = NamedObject("bike"), NamedObject("bicycle"), NamedObject("hat")
    row = Comparison.of([bike, hat], [bicycle], [(bike, bicycle)]).to_dict()
    assert row["matched"] == "bike = bicycle" and row["lost"] == "hat" and row["invented"] == ""
    assert (row["n_matched"], row["n_lost"], row["n_invented"], row["recall"]) == (1, 1, 0, 0.5)

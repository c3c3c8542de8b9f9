"""How the agreement with labelled captions is counted, and how well the offline judge does."""

import re

import pytest

from vlm_lens.errors import InputError
from vlm_lens.metrics.judges.agreement import LabelledPair, agreement, labelled_pairs
from vlm_lens.metrics.judges.judge import Comparison, Judge, NamedObject
from vlm_lens.metrics.judges.object_list import ObjectListJudge


class Told(Judge):
    """A judge that says what it was told to say."""

    def __init__(self, answers: dict[tuple[str, str], Comparison]) -> None:
        self.answers = answers

    def compare(self, reference: str, candidate: str) -> Comparison:
        return self.answers[reference, candidate]

    def fingerprint(self) -> str:
        return "told"


def as_labelled(pair: LabelledPair) -> Comparison:
    """What a judge says that reads as the reader did."""
    things = {name: NamedObject(name) for name in (*(one for one, _ in pair.matched), *pair.lost)}
    others = {name: NamedObject(name) for name in (*(other for _, other in pair.matched), *pair.invented)}
    matched = [(things[one], others[other]) for one, other in pair.matched]
    return Comparison.of(list(things.values()), list(others.values()), matched)


def test_there_are_a_hundred_pairs_and_half_are_held_out() -> None:
    assert len(labelled_pairs()) >= 100
    assert len(labelled_pairs("held out")) >= 50
    assert labelled_pairs("tuning") + labelled_pairs("held out") != labelled_pairs()
    assert len(labelled_pairs("tuning")) + len(labelled_pairs("held out")) == len(labelled_pairs())


def test_every_label_stands_in_its_caption_once() -> None:
    sides = []
    for pair in labelled_pairs():
        sides.append((pair.reference, [*{one for one, _ in pair.matched}, *pair.lost]))
        sides.append((pair.candidate, [*{other for _, other in pair.matched}, *pair.invented]))
    for caption, names in sides:
        assert len(set(names)) == len(names)
        assert all(re.search(rf"\b{re.escape(name)}\b", caption, re.IGNORECASE) for name in names), (caption, names)


def test_a_judge_that_reads_as_the_reader_agrees_in_everything() -> None:
    pairs = labelled_pairs()
    found = agreement(Told({(pair.reference, pair.candidate): as_labelled(pair) for pair in pairs}), pairs)
    assert (found.accuracy, found.true_positive_rate, found.true_negative_rate) == (1.0, 1.0, 1.0)
    assert found.f1_correlation == pytest.approx(1.0) and found.f1_error == found.f1_bias == 0.0


def test_the_answers_of_a_small_case_are_those_counted_by_hand() -> None:
    pair = LabelledPair("held out", "a cat and a bed", "a cat and a cup", (("cat", "cat"),), ("bed",), ("cup",))
    cat, sky, cup = NamedObject("cat"), NamedObject("sky"), NamedObject("cup")
    judge = Told({(pair.reference, pair.candidate): Comparison.of([cat, sky], [cat, cup], [(cat, cat)])})
    found = agreement(judge, [pair])
    # Yes of both: the cat in both captions, asked of each caption's cat (4), the cup in its own (1).
    # The judge alone: the sky in its own. The reader alone: the bed in its own.
    # No of both: bed, sky and cup in the other caption.
    assert found.confusion == (5, 1, 1, 3)
    assert found.accuracy == 8 / 10 and found.true_positive_rate == 5 / 6 and found.true_negative_rate == 3 / 4
    assert found.label_f1 == found.judge_f1 == (0.5,)


def test_a_false_partner_is_a_false_yes() -> None:
    pair = LabelledPair("held out", "a hot dog", "a dog", (), ("hot dog",), ("dog",))
    one, other = NamedObject("dog"), NamedObject("dog")
    found = agreement(Told({("a hot dog", "a dog"): Comparison.of([one], [other], [(one, other)])}), [pair])
    assert found.confusion == (2, 2, 0, 0)


def test_the_offline_judge_agrees_with_the_held_out_half() -> None:
    """Above the model of the paper (95.7, 95.2 and 96.5% against people), on easier captions than its."""
    found = agreement(ObjectListJudge(), labelled_pairs("held out"))
    assert found.n_pairs == 60
    assert found.accuracy >= 0.97 and found.true_positive_rate >= 0.97 and found.true_negative_rate >= 0.94
    assert found.f1_correlation >= 0.96 and found.f1_error <= 0.03


def test_no_pair_is_no_agreement() -> None:
    with pytest.raises(InputError, match="at least one labelled pair"):
        agreement(ObjectListJudge(), [])

"""How well a judge agrees with a reader: the questions of the paper's user study, on labelled pairs of captions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_lens.errors import InputError
from vlm_lens.metrics import f1
from vlm_lens.metrics.judges.agreement.labelled import LabelledPair
from vlm_lens.metrics.judges.judge import Comparison, Judge, NamedObject


@dataclass(frozen=True)
class Answer:
    """One question about one object: does this caption name it?

    Attributes:
        object: the object, as it stands in a caption.
        of: the caption that it stands in, "reference" or "candidate".
        asked: the caption that the question is about.
        label: the reader's answer.
        judged: the judge's.
    """

    object: str
    of: str
    asked: str
    label: bool
    judged: bool


@dataclass(frozen=True)
class Agreement:
    """What a judge and a reader say of the same pairs of captions.

    For every object that one of them names: does its own caption name it, and does the other one? The first is about
    finding objects, the second about matching them.

    Attributes:
        answers: for each pair of captions, all questions.
        label_f1: of each pair, by the reader.
        judge_f1: of each pair, by the judge.

    Source: "What's in the Image?", 2024, appendix B and table A1.
    """

    answers: tuple[tuple[Answer, ...], ...]
    label_f1: tuple[float, ...]
    judge_f1: tuple[float, ...]

    @property
    def n_pairs(self) -> int:
        return len(self.answers)

    @property
    def confusion(self) -> tuple[int, int, int, int]:
        """Answers by judge and reader: both yes, the judge alone yes, the reader alone yes, both no."""
        told = [(one.judged, one.label) for answers in self.answers for one in answers]
        return (
            told.count((True, True)),
            told.count((True, False)),
            told.count((False, True)),
            told.count((False, False)),
        )

    @property
    def accuracy(self) -> float:
        """The share of questions on which both say the same."""
        both, judge, reader, neither = self.confusion
        return (both + neither) / (both + judge + reader + neither)

    @property
    def true_positive_rate(self) -> float:
        """Of what the reader affirms, the share that the judge affirms."""
        both, _, reader, _ = self.confusion
        return both / (both + reader)

    @property
    def true_negative_rate(self) -> float:
        """Of what the reader denies, the share that the judge denies."""
        _, judge, _, neither = self.confusion
        return neither / (judge + neither)

    @property
    def f1_correlation(self) -> float:
        """Pearson's, of the F1 of the pairs."""
        return float(np.corrcoef(self.label_f1, self.judge_f1)[0, 1])

    @property
    def f1_error(self) -> float:
        """The mean distance between both F1 of a pair."""
        return float(np.abs(np.subtract(self.label_f1, self.judge_f1)).mean())

    @property
    def f1_bias(self) -> float:
        """The judge's mean F1 less the reader's."""
        return float(np.subtract(self.judge_f1, self.label_f1).mean())


def agreement(judge: Judge, pairs: Sequence[LabelledPair]) -> Agreement:
    """What a judge says of labelled pairs, beside the labels.

    Raises:
        InputError: no pair; and what the judge raises.
    """
    if not pairs:
        raise InputError("Agreement", "at least one labelled pair", "none", "labelled_pairs() has the bundled ones.")
    found = [judge.compare(pair.reference, pair.candidate) for pair in pairs]
    return Agreement(
        tuple(tuple(answers_of(pair, one)) for pair, one in zip(pairs, found, strict=True)),
        tuple(f1.f1(len(pair.matched), len(pair.invented), len(pair.lost)) for pair in pairs),
        tuple(one.f1 for one in found),
    )


def answers_of(pair: LabelledPair, found: Comparison) -> Iterator[Answer]:
    """Both questions about every object that the reader or the judge names in either caption."""
    firsts = {**{name: True for name, _ in pair.matched}, **dict.fromkeys(pair.lost, False)}
    seconds = {**{name: True for _, name in pair.matched}, **dict.fromkeys(pair.invented, False)}
    sides = (
        ("reference", "candidate", firsts, found.reference, found.lost),
        ("candidate", "reference", seconds, found.candidate, found.invented),
    )
    for here, there, labels, named, unmatched in sides:
        partners = aligned(list(labels), named)
        for name, is_matched in labels.items():
            one = partners.get(name)
            yield Answer(name, here, here, True, one is not None)
            yield Answer(name, here, there, is_matched, one is not None and one not in unmatched)
        for one in named:
            if one not in partners.values():
                yield Answer(one.name, here, here, False, True)
                yield Answer(one.name, here, there, False, one not in unmatched)


def aligned(names: Sequence[str], named: Sequence[NamedObject]) -> dict[str, NamedObject]:
    """For each labelled name the judge's object that it is.

    One that stands in the caption in the same words, or that the judge calls so; failing that, one whose phrase ends
    with the same word: what is a "water glass" to one of them may be a "glass" to the other.
    """
    partners: dict[str, NamedObject] = {}
    for fits in (_same_words, _same_last_word):
        for name in names:
            free = [one for one in named if one not in partners.values()]
            fitting = [one for one in free if fits(name, one)]
            if name not in partners and fitting:
                partners[name] = fitting[0]
    return partners


def _phrases(one: NamedObject) -> list[str]:
    return [one.name.lower(), *(mention.text.lower() for mention in one.mentions)]


def _same_words(name: str, one: NamedObject) -> bool:
    return name.lower() in _phrases(one)


def _same_last_word(name: str, one: NamedObject) -> bool:
    return any(name.lower().split()[-1] == phrase.split()[-1] for phrase in _phrases(one))

"""A judge of captions: which objects of one caption another one names, and which it adds.

To add one, subclass `Judge` with `compare` and `fingerprint`, and name it in `judge_named`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_lens.metrics import f1


@dataclass(frozen=True)
class Mention:
    """Where a caption names an object.

    Attributes:
        text: the words, as they stand.
        start: of the first character.
        stop: after the last character: `caption[start:stop] == text`.
    """

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class NamedObject:
    """A physical object that a caption names.

    Attributes:
        name: what a judge calls it, in the singular where the judge knows it: "bicycle".
        mentions: where it is named, in the caption's order; none where a judge puts it in words of its own.
    """

    name: str
    mentions: tuple[Mention, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Comparison:
    """The objects of two captions, matched.

    Attributes:
        reference: the objects of the first caption.
        candidate: the objects of the second.
        matched: pairs of them that are the same thing; their number is TP. An object stands in several pairs where it
            covers several of the other caption: children, and a boy and a girl.
        lost: objects of the reference that stand in no pair: FN.
        invented: objects of the candidate that stand in no pair: FP.
    """

    reference: tuple[NamedObject, ...]
    candidate: tuple[NamedObject, ...]
    matched: tuple[tuple[NamedObject, NamedObject], ...]
    lost: tuple[NamedObject, ...]
    invented: tuple[NamedObject, ...]

    @classmethod
    def of(
        cls,
        reference: Sequence[NamedObject],
        candidate: Sequence[NamedObject],
        matched: Sequence[tuple[NamedObject, NamedObject]],
    ) -> "Comparison":
        """A comparison in which everything unmatched is lost or invented."""
        found, named = {one for one, _ in matched}, {other for _, other in matched}
        lost = tuple(one for one in reference if one not in found)
        invented = tuple(other for other in candidate if other not in named)
        return cls(tuple(reference), tuple(candidate), tuple(matched), lost, invented)

    @property
    def is_empty(self) -> bool:
        """Whether neither caption names an object. Precision, recall and F1 are 1 then, and say little."""
        return not self.reference and not self.candidate

    @property
    def counts(self) -> tuple[int, int, int]:
        """TP, FP, FN."""
        return len(self.matched), len(self.invented), len(self.lost)

    @property
    def precision(self) -> float:
        """The share of the candidate's objects that are the reference's; see `vlm_lens.metrics.f1` for 0 / 0."""
        return f1.precision(*self.counts)

    @property
    def recall(self) -> float:
        """The share of the reference's objects that the candidate names."""
        return f1.recall(*self.counts)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 0 where no object is matched, 1 where neither caption has any."""
        return f1.f1(*self.counts)

    def to_dict(self) -> dict[str, Any]:
        """What a row can hold: the counts, the three figures, and the names between commas."""
        n_matched, n_invented, n_lost = self.counts
        return {
            "n_matched": n_matched, "n_lost": n_lost, "n_invented": n_invented,
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "matched": ", ".join(" = ".join(dict.fromkeys(map(str, pair))) for pair in self.matched),
            "lost": ", ".join(map(str, self.lost)), "invented": ", ".join(map(str, self.invented)),
        }  # fmt: skip


class Judge(ABC):
    """Whoever compares two captions by the physical objects they name.

    Source: "What's in the Image?", 2024, section 4.2 and appendix B.
    """

    @abstractmethod
    def compare(self, reference: str, candidate: str) -> Comparison:
        """The objects of a caption, and what another one keeps, loses and adds."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What the judge is, as text for a run's spec: two judges with the same one judge alike. Holds no secret."""

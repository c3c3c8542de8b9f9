"""Answers of yes and no: how they are read, and how many are right, question by question and picture by picture."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from vlm_lens.errors import InputError
from vlm_lens.metrics.words import words_of

YES_NO_RULES = ("words", "first four", "anywhere")


def yes_or_no(text: str, rule: str = "words") -> Literal["yes", "no"] | None:
    """What an answer says; None where it says neither.

    "words" takes the first "yes" or "no" that is a whole word, in any case.

    "first four" is the rule of MME and of "What's in the image?": "yes", or else "no", within the first four characters
    of the lower-cased text. "Not sure" and "None" are read as no, and a yes behind the fourth character is not seen.

    "anywhere" is that of Neo et al.'s polling: "yes" anywhere in the lower-cased text is yes, all else is no.
    "Yesterday" is read as yes, and so is "I cannot say yes".

    Args:
        text: the answer; for "anywhere", whatever text their rule is meant for.
        rule: one of the three.

    Raises:
        InputError: another rule.

    Example:
        >>> yes_or_no("Not sure."), yes_or_no("Not sure.", "first four"), yes_or_no("The answer is Yes.")
        (None, 'no', 'yes')
    """
    if rule not in YES_NO_RULES:
        raise InputError("Rule for yes and no", f"one of {', '.join(YES_NO_RULES)}", repr(rule))
    if rule == "anywhere":
        return "yes" if "yes" in text.lower() else "no"
    if rule == "first four":
        beginning = text.lower()[:4]
        return "yes" if "yes" in beginning else "no" if "no" in beginning else None
    for word in words_of(text):
        if word in ("yes", "no"):
            return "yes" if word == "yes" else "no"
    return None


@dataclass(frozen=True, eq=False)
class YesNoScores:
    """How many answers are right, by picture, so that pictures can be drawn for an interval.

    Attributes:
        pictures: in order of appearance.
        n_questions: about each.
        n_right: of them.
    """

    pictures: tuple[Hashable, ...]
    n_questions: Float[np.ndarray, " picture"]
    n_right: Float[np.ndarray, " picture"]

    @property
    def accuracy(self) -> float:
        """ACC: the share of the questions that were answered rightly."""
        return float(self.n_right.sum() / self.n_questions.sum())

    @property
    def is_all_right(self) -> Float[np.ndarray, " picture"]:
        """1 for each picture all of whose questions were answered rightly, else 0."""
        return (self.n_right == self.n_questions).astype(float)

    @property
    def accuracy_plus(self) -> float:
        """ACC+: the share of the pictures of which every question was answered rightly."""
        return float(self.is_all_right.mean())


def yes_no_scores(pictures: Sequence[Hashable], is_right: Sequence[bool]) -> YesNoScores:
    """ACC and ACC+ from one truth value a question.

    Args:
        pictures: whose question each is.
        is_right: whether it was answered rightly. An answer that says neither is not.

    Raises:
        InputError: no question, or not as many of both.

    Source: Fu et al., "MME", 2023: two questions a picture, one with each answer, so that chance is 50% and 25%.

    Example:
        >>> found = yes_no_scores(["a", "a", "b", "b"], [True, True, True, False])
        >>> found.accuracy, found.accuracy_plus
        (0.75, 0.5)
    """
    if len(pictures) != len(is_right) or not len(pictures):
        raise InputError(
            "Scores of yes and no",
            "a picture and a truth value for each question",
            f"{len(pictures)} and {len(is_right)}",
        )
    order = {picture: place for place, picture in enumerate(dict.fromkeys(pictures))}
    places = np.array([order[picture] for picture in pictures])
    n_questions = np.bincount(places).astype(float)
    return YesNoScores(tuple(order), n_questions, np.bincount(places, weights=np.asarray(is_right, float)))

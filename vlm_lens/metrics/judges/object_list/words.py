"""A caption as words: where each stands, and which base forms it may have."""

import re
from dataclasses import dataclass
from functools import cache

import inflect
import simplemma

_WORD = re.compile(
    r"(?P<word>[^\W\d_]+(?:['’](?!s\b|S\b)[^\W\d_]+)*)(?P<possessive>['’][sS]\b)?|(?P<mark>[.!?;:,()\n\"“”]|\d+)"
)
_ENDS = ".!?;\n"
_PLURALS = inflect.engine()


@dataclass(frozen=True)
class Word:
    """A word, number or mark of a caption.

    Attributes:
        lower: in lower case, without a possessive ending.
        start: of its first character in the caption.
        stop: after its last.
        sentence: the number of its sentence.
        is_possessive: whether "'s" follows.
        is_joined: whether a hyphen joins it to the next word.
    """

    lower: str
    start: int
    stop: int
    sentence: int
    is_possessive: bool = False
    is_joined: bool = False

    @property
    def is_mark(self) -> bool:
        """Whether it is punctuation."""
        return not self.lower[0].isalnum()


def words_of(caption: str) -> list[Word]:
    """The words, numbers and marks of a caption, in order. Hyphens part words."""
    words: list[Word] = []
    sentence = 0
    for found in _WORD.finditer(caption):
        text = found["word"] or found["mark"]
        stop = found.start() + len(text)
        joined = caption[found.end() : found.end() + 1] == "-" and caption[found.end() + 1 : found.end() + 2].isalpha()
        lower = text.lower().replace("’", "'")
        words.append(Word(lower, found.start(), stop, sentence, bool(found["possessive"]), joined))
        sentence += text in _ENDS
    return words


@cache
def base_forms(word: str) -> tuple[str, ...]:
    """The word itself, and its singular where it can be a plural: by inflect first, then by simplemma's tables.

    Example:
        >>> base_forms("leaves"), base_forms("women"), base_forms("couch")
        (('leaves', 'leaf', 'leave'), ('women', 'woman'), ('couch',))
    """
    singular = _PLURALS.singular_noun(word) if len(word) > 2 and word.isalpha() else False
    if not singular:
        return (word,)
    return tuple(dict.fromkeys((word, str(singular), simplemma.lemmatize(word, lang="en"))))

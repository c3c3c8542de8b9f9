"""How often captions speak of objects, of parts, and of both together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int
from nltk.stem import PorterStemmer

from vlm_lens.errors import InputError

APOSTROPHE = re.compile(r"['’]")
PUNCTUATION = re.compile(r"[\W_]+")
_STEMMER = PorterStemmer()

Terms = Mapping[str, Iterable[str]]
"""For each name what else it is called: synonyms and hyponyms, of one word or several. The name itself counts too."""


@dataclass(frozen=True, eq=False)
class Frequency:
    """In how many texts something is mentioned; a text counts once, however often it says so.

    Attributes:
        n_texts: how many were read.
        objects: their names.
        parts: theirs.
        of_object: texts that mention each object.
        of_part: texts that mention each part, whatever else they mention.
        together: texts that mention both.
    """

    n_texts: int
    objects: tuple[str, ...]
    parts: tuple[str, ...]
    of_object: Int[np.ndarray, " object"]
    of_part: Int[np.ndarray, " part"]
    together: Int[np.ndarray, "object part"]


def mention_frequency(texts: Iterable[str], objects: Terms, parts: Terms) -> Frequency:
    """Counts of objects and parts, and of both in the same text.

    Words are lower-cased, rid of punctuation and stemmed by Porter's algorithm, and so are the terms; terms of several
    words are found as several words in a row. Punctuation parts words ("head/neck", "black-and-white"), except for
    apostrophes, which go ("dog's" is "dogs", whose stem is "dog").

    The paper expands each term by synonyms and hyponyms from WordNet, whose data no package carries; whatever list is
    given stands for it.

    Args:
        texts: captions, answers: read one by one, once.
        objects: names with what else they are called: `{"dog": ["puppy", "hound"]}`.
        parts: the same.

    Raises:
        InputError: a term without a word.

    Source: "Object part identification", appendix C.

    Example:
        >>> found = mention_frequency(["A puppy's legs.", "Two dogs."], {"dog": ["puppy"]}, {"leg": []})
        >>> found.of_object.tolist(), found.of_part.tolist(), found.together.tolist()
        ([2], [1], [[1]])
    """
    phrases = _phrases(objects, 0) + _phrases(parts, len(objects))
    by_first: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    for phrase, number in phrases:
        by_first.setdefault(phrase[0], []).append((phrase, number))
    n_objects, n_texts = len(objects), 0
    counts = np.zeros(n_objects + len(parts), dtype=np.int64)
    together = np.zeros((n_objects, len(parts)), dtype=np.int64)
    for text in texts:
        n_texts += 1
        found = _named(stems_of(text), by_first)
        said = sorted(found)
        counts[said] += 1
        named_objects = [one for one in said if one < n_objects]
        named_parts = [one - n_objects for one in said if one >= n_objects]
        together[np.ix_(named_objects, named_parts)] += 1
    return Frequency(n_texts, tuple(objects), tuple(parts), counts[:n_objects], counts[n_objects:], together)


def stems_of(text: str) -> list[str]:
    """The stems of a text's words, in their order.

    Example:
        >>> stems_of("The horses' LEGS, and hooves!")
        ['the', 'hors', 'leg', 'and', 'hoov']
    """
    return [_stem(word) for word in PUNCTUATION.split(APOSTROPHE.sub("", text.lower())) if word]


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    stem: str = _STEMMER.stem(word)
    return stem


def _phrases(terms: Terms, first: int) -> list[tuple[tuple[str, ...], int]]:
    """The stems of each term, with the number of what it names."""
    found = []
    for number, (name, others) in enumerate(terms.items(), start=first):
        if isinstance(others, str):
            raise InputError(f"Terms of {name!r}", "several texts", repr(others), "Put it in a list.")
        for term in (name, *others):
            stems = tuple(stems_of(term))
            if not stems:
                raise InputError(f"Terms of {name!r}", "at least one word in each", repr(term))
            found.append((stems, number))
    return found


def _named(stems: Sequence[str], by_first: Mapping[str, Sequence[tuple[tuple[str, ...], int]]]) -> set[int]:
    """The numbers of what a text names."""
    return {
        number
        for place, stem in enumerate(stems)
        for phrase, number in by_first.get(stem, ())
        if tuple(stems[place : place + len(phrase)]) == phrase
    }

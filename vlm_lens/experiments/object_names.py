"""The words that name a kind of object in a description: its synonyms, its narrower kinds, and what only sounds so."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from vlm_lens.metrics.judges.object_list.lexicon import bundled_lexicon


@dataclass(frozen=True)
class ObjectNames:
    """The words for a kind of object.

    Attributes:
        synonyms: other words for it and for narrower kinds: "puppy" for "dog", "woman" for "person".
        but_not: names of other things that hold one of its words: "hot dog".
    """

    synonyms: tuple[str, ...]
    but_not: tuple[str, ...]


@cache
def names_of(category: str) -> ObjectNames:
    """What the bundled lexicon knows of a category; nothing of one that it does not know.

    Example:
        >>> "sofa" in names_of("couch").synonyms, "hot dog" in names_of("dog").but_not
        (True, True)
    """
    lexicon = bundled_lexicon()
    own = tuple(category.lower().split())
    name = lexicon.phrases.get(own)
    meant = set() if name is None else {name} | {one for one, above in lexicon.broader.items() if name in above}
    same = {phrase for phrase, named in lexicon.phrases.items() if named in meant} | {own}
    others = [phrase for phrase in lexicon.phrases if phrase not in same and any(_holds(phrase, one) for one in same)]
    return ObjectNames(*(tuple(sorted(" ".join(one) for one in some)) for some in (same - {own}, others)))


def _holds(phrase: Sequence[str], part: Sequence[str]) -> bool:
    return any(tuple(phrase[start : start + len(part)]) == tuple(part) for start in range(len(phrase)))

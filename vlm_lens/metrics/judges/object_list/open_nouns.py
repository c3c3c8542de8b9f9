"""Nouns that the lexicon does not know: the last word of a phrase that begins with an article or a number."""

from collections.abc import Iterator, Sequence

from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.noun_rules import word_at
from vlm_lens.metrics.judges.object_list.nouns import Noun
from vlm_lens.metrics.judges.object_list.words import Word, base_forms

_NO_THINGS = tuple("ness tion sion ity ism ance ence ship hood ment phere ing ly ful ous ive al ic".split())
_MOST_WORDS = 5


def unknown_nouns(
    words: Sequence[Word], nouns: Sequence[Noun], kept: Sequence[Noun], lexicon: Lexicon
) -> Iterator[Noun]:
    """Things that the lexicon has no name for: "a brass xylophone" is a xylophone.

    What ends as abstract nouns and adjectives do is left out, and so is a phrase with a word that the lexicon knows.

    Args:
        words: of the caption.
        nouns: what the lexicon knows of them.
        kept: those that name an object there; the others are verbs and adjectives.
        lexicon: the words around them.
    """
    known = {index for noun in nouns if noun.name is None or noun in kept for index in range(noun.start, noun.stop)}
    passed = {index for noun in nouns for index in range(noun.start, noun.stop)} - known
    for index, word in enumerate(words):
        if word.lower in lexicon.words("indefinite") | {"the"}:
            head = _head(index + 1, known, passed, words, lexicon)
            if head is not None:
                text = words[head].lower
                base = base_forms(text)[min(1, len(base_forms(text)) - 1)]
                yield Noun(base, head, head + 1, base != text)


def _head(start: int, known: set[int], passed: set[int], words: Sequence[Word], lexicon: Lexicon) -> int | None:
    ends = lexicon.words("prepositions", "joining", "auxiliaries", "pronouns", "verbs", "denials")
    head = None
    for index in range(start, min(start + _MOST_WORDS, len(words))):
        word = words[index].lower
        if index in passed:
            if head is not None:
                break
            continue
        if index in known or set(base_forms(word)) & lexicon.not_objects():
            return None
        is_article = word in lexicon.words("determiners")
        if not word.isalpha() or is_article or word in ends or (head is not None and word.endswith(("ing", "ed"))):
            break
        if head is not None and word_at(words, start - 1) in ("a", "an", "one", "another") and _is_third_person(word):
            break
        if word not in lexicon.words("adjectives") and not word.endswith(("ly", "ed")):
            head = index
    if head is None:
        return None
    if word_at(words, head + 1) == "of" and set(base_forms(words[head].lower)) & lexicon.words("measures"):
        return None
    if len(words[head].lower) < 3 or words[head].lower.endswith(_NO_THINGS):
        return None
    return head


def _is_third_person(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))

"""The words of a text, and the forms that an English noun has.

The tables ride in the packages `inflect` and `simplemma`; nothing is downloaded.
"""

import re
from functools import cache, lru_cache

import inflect
import simplemma

WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
"""Letters and digits, with what follows an apostrophe: "dog's", "don't"."""

IRREGULAR = {"people": "person"}
"""What neither table knows as a plural."""

SHORTEST = 3
"""Letters of a singular that is believed by itself: "has" is not the plural of "ha"."""


@cache
def _nouns() -> inflect.engine:
    return inflect.engine()


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and possessive endings.

    Example:
        >>> words_of("The dog's T-shirt isn't red!")
        ['the', 'dog', 't', 'shirt', "isn't", 'red']
    """
    words = [word.replace("’", "'") for word in WORD.findall(text.lower())]
    return [word.removesuffix("'s").removesuffix("'") for word in words]


@lru_cache(maxsize=100_000)
def base_form(word: str) -> str:
    """A noun's singular: "wolves" is "wolf"; what is no plural stays as it is, verbs and "glass" and "gas" among them.

    A plural that `simplemma` knows is believed where `inflect` gives it a singular that is known too and `simplemma`
    holds it for a form of something; so "bus", "gas", "jeans" and "scissors" stay. Of a word that it does not know,
    `inflect` alone decides. A verb that looks like a plural is taken for one.

    Args:
        word: one word, in lower case.

    Example:
        >>> [base_form(word) for word in "dogs wolves people glasses bus scissors sheep was".split()]
        ['dog', 'wolf', 'person', 'glass', 'bus', 'scissors', 'sheep', 'was']
    """
    if word in IRREGULAR:
        return IRREGULAR[word]
    if not word.isalpha():
        return word
    singular, lemma = _nouns().singular_noun(word), simplemma.lemmatize(word, lang="en").lower()
    if not isinstance(singular, str):
        return lemma if lemma != word and _nouns().plural_noun(lemma) == word else word
    if not simplemma.is_known(word, lang="en"):  # "tvs": by rule alone
        return singular if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
    if lemma == word:
        return word
    if len(singular) >= SHORTEST and simplemma.is_known(singular, lang="en"):
        return singular
    return lemma if _nouns().plural_noun(lemma) == word else word


@lru_cache(maxsize=100_000)
def is_form_of(word: str, noun: str) -> bool:
    """Whether a word of a text is a noun or one of its other numbers: "wolves" of "wolf", "ski" of "skis".

    Args:
        word: one word, in lower case.
        noun: one word, in lower case, singular or plural.
    """
    if word == noun or base_form(word) == base_form(noun):
        return True
    return _nouns().plural_noun(noun) == word and noun.isalpha() and base_form(noun) == noun

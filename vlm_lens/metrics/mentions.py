"""Whether a text names a thing."""

from collections.abc import Iterable, Sequence

from vlm_lens.errors import InputError
from vlm_lens.metrics.words import is_form_of, words_of

MENTION_RULES = ("words", "as written")


def mentions(
    text: str, name: str, rule: str = "words", *, synonyms: Iterable[str] = (), but_not: Iterable[str] = ()
) -> bool:
    """Whether a text names a thing.

    "words" asks for the name, a synonym or the plural of either as whole words, in any case: "Two Dogs" names "dog",
    "hotdog" does not. Give it the answer alone.

    "as written" is the rule of Neo et al.'s code: the name stands in the text letter by letter, with its case. So
    "scatter" names "cat", "Dog" does not name "dog", and the text that their code gives it holds the prompt as well,
    which for a question about the thing names it always.

    Args:
        text: an answer, or whatever text the rule is meant for.
        name: one word or several: "dog", "traffic light".
        rule: "words" or "as written".
        synonyms: other names; for "words" alone.
        but_not: names in which the name means something else, "hot dog" for "dog"; for "words" alone.

    Raises:
        InputError: another rule, or a name without a word.

    Source: "Towards Interpreting Visual Information Processing in Vision-Language Models", 2024, section 3.

    Example:
        >>> mentions("Two Dogs eat a hot dog.", "dog", but_not=["hot dog"]), mentions("A hot dog.", "cat")
        (True, False)
    """
    if rule not in MENTION_RULES:
        raise InputError("Rule for mentions", f"one of {', '.join(MENTION_RULES)}", repr(rule))
    if not words_of(name):
        raise InputError("Name to look for", "at least one word", repr(name))
    if rule == "as written":
        return name in text
    words = words_of(text)
    taken = {place for phrase in but_not for start, end in places_of(words, phrase) for place in range(start, end)}
    found = (place for phrase in (name, *synonyms) for place in places_of(words, phrase))
    return any(taken.isdisjoint(range(start, end)) for start, end in found)


def places_of(words: Sequence[str], name: str) -> list[tuple[int, int]]:
    """Where a name of one or several words stands: its first word, and the one behind its last.

    Its last word may be in either number, the others are as they are: "traffic lights" is "traffic light".

    Args:
        words: of a text, as `words_of` gives them.
        name: to be found.
    """
    *before, last = words_of(name) or [""]
    n = len(before) + 1
    return [
        (start, start + n)
        for start in range(len(words) - n + 1)
        if list(words[start : start + n - 1]) == before and is_form_of(words[start + n - 1], last)
    ]

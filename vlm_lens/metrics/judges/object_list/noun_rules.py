"""When a word that could name an object does not: as a verb, a colour, part of another noun, or a place on a body."""

from collections.abc import Sequence

from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.nouns import Noun, is_worn
from vlm_lens.metrics.judges.object_list.words import Word, base_forms


def objects_among(nouns: Sequence[Noun], words: Sequence[Word], lexicon: Lexicon) -> list[Noun]:
    """The nouns that name an object where they stand."""
    kept: list[Noun] = []
    for noun in nouns:
        if noun.name is None or _is_verb(noun, kept, words, lexicon) or _is_colour(noun, words, lexicon):
            continue
        if _is_elsewhere(noun, words, lexicon) or _is_measure(noun, words, lexicon):
            continue
        if lexicon.group_of.get(noun.name) == "parts of bodies" and _tells_a_place(noun, words, lexicon):
            continue
        kept.append(noun)
    starts = {noun.start for noun in kept}
    return [noun for noun in kept if not _describes_another(noun, starts, words, lexicon)]


def word_at(words: Sequence[Word], index: int) -> str:
    """The word at an index, or a full stop before the first and after the last."""
    return words[index].lower if 0 <= index < len(words) else "."


def _is_verb(noun: Noun, before: Sequence[Noun], words: Sequence[Word], lexicon: Lexicon) -> bool:
    """Whether it is done, not there: to watch, can watch, who watch, people watch, a lamp lights the road."""
    if noun.stop - noun.start > 1 or not set(base_forms(words[noun.start].lower)) & lexicon.words("homographs"):
        return False
    here, last = words[noun.start].lower, word_at(words, noun.start - 1)
    previous = before[-1] if before else None
    if here == "can" and last not in lexicon.words("determiners", "adjectives"):
        return True
    if last == "to":
        return word_at(words, noun.start - 2) not in lexicon.words("to is no verb after")
    if last in lexicon.words("modals and subjects"):
        return True
    if last == "that" and previous is not None and previous.stop == noun.start - 1:
        return True
    has_ending = here.endswith("s") and not here.endswith("ss")
    if last == "and" and has_ending:
        # "Shirts and ties" is a list; "smiles and waves" is not.
        return not (previous is not None and previous.stop == noun.start - 1)
    return _follows_its_subject(noun, previous, words, lexicon, has_ending=has_ending)


def _follows_its_subject(
    noun: Noun, previous: Noun | None, words: Sequence[Word], lexicon: Lexicon, *, has_ending: bool
) -> bool:
    at = noun.start - 1
    while word_at(words, at) in lexicon.words("adjectives"):
        at -= 1
    if previous is None or previous.stop != at + 1 or words[at].is_possessive or words[at].is_joined:
        # Nothing before it that the lexicon knows: "a xylophone stands".
        opens = lexicon.words("determiners", "prepositions", "verbs") | {"and", "or", ",", "."}
        return has_ending and word_at(words, at) not in opens and words[noun.start].lower in lexicon.words("verbs")
    if has_ending or previous.is_several or lexicon.is_alive(previous.name):
        return True
    start = previous.start - 1
    while word_at(words, start) in lexicon.words("determiners", "adjectives"):
        start -= 1
    return word_at(words, start) == "and"  # a car and an ambulance stand


def _is_colour(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """An orange cat, a light room: the word counts by itself only after an article, and before no other noun."""
    here = words[noun.start].lower
    if noun.stop - noun.start > 1 or here not in lexicon.words("strict"):
        return False
    article = {"orange": ("an", "one", "another", "whole", "sliced"), "light": ("a", "one", "another")}[here]
    after = word_at(words, noun.stop)
    ends = lexicon.words("joining", "prepositions", "auxiliaries", "verbs")
    if word_at(words, noun.start - 1) not in article or not (after in ends or not after.isalpha()):
        return True
    return after in ("and", "or") and word_at(words, noun.stop + 1) in lexicon.words("adjectives")


def _is_elsewhere(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """Words that count only in some surroundings: the camera one looks at, a picture that hangs nowhere, a top."""
    if noun.stop - noun.start > 1:
        return False
    here = words[noun.start].lower
    looked_at = lexicon.grammar["looked at"].get(here)
    if looked_at is not None and word_at(words, noun.start - 1) == "the":
        return word_at(words, noun.start - 2) in looked_at.split()
    needed = lexicon.grammar["only with"].get(here)
    if needed is not None:
        around = {word.lower for word in words if word.sentence == words[noun.start].sentence}
        return not around & set(needed.split())
    return here in lexicon.words("only worn") and not is_worn(noun, words, lexicon)


def _is_measure(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """A couple of cows is no couple, and a picture of a cat hangs nowhere."""
    bases = base_forms(words[noun.stop - 1].lower)
    return word_at(words, noun.stop) == "of" and bool(set(bases) & lexicon.words("measures"))


def _tells_a_place(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """In its mouth, on his head, with her hands: a part that says where or how, not what something has."""
    at = noun.start - 1
    owned = False
    while word_at(words, at) in lexicon.words("determiners", "adjectives"):
        owned |= word_at(words, at) in lexicon.words("possessives")
        at -= 1
    if at >= 0 and words[at].is_possessive:
        at -= 1
        while word_at(words, at) in lexicon.words("determiners", "adjectives"):
            at -= 1
    before = word_at(words, at)
    how = before == "with" or before in lexicon.words("moves a part")
    return before in lexicon.words("places where parts are") or (how and owned)


def _describes_another(noun: Noun, starts: set[int], words: Sequence[Word], lexicon: Lexicon) -> bool:
    """The first of two nouns: a dog bed is no dog, a tennis racket no tennis, a horse-drawn carriage no horse."""
    last = words[noun.stop - 1]
    if last.is_possessive:
        return False
    if last.is_joined or noun.stop in starts:
        return True
    is_alive = lexicon.group_of.get(noun.name or "") in ("people", "animals")
    return not is_alive and word_at(words, noun.stop) in lexicon.not_objects("places", "events") - lexicon.words(
        "verbs"
    )

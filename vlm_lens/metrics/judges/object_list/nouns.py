"""The phrases of a caption that may name objects, longest first, and which of them do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.words import Word, base_forms


@dataclass(frozen=True)
class Noun:
    """Words `start` to `stop` (exclusive) of a caption, as the name of an object.

    Attributes:
        name: the object's; None where the words name no object.
        start: its first word.
        stop: after its last word.
        is_several: whether it stands in the plural.
    """

    name: str | None
    start: int
    stop: int
    is_several: bool = False


def nouns_of(words: Sequence[Word], lexicon: Lexicon) -> list[Noun]:
    """Every name of an object that the words hold, whatever they mean there; longer phrases first.

    "A hot dog" holds no dog, "a baseball bat" one thing.
    """
    found, at = [], 0
    while at < len(words):
        noun = _longest(words, at, lexicon)
        if noun is None:
            at += 1
            continue
        found.append(noun)
        at = noun.stop
    return found


def _longest(words: Sequence[Word], start: int, lexicon: Lexicon) -> Noun | None:
    for stop in range(min(len(words), start + lexicon.longest), start, -1):
        inner = tuple(word.lower for word in words[start : stop - 1])
        last = words[stop - 1].lower
        if (*inner, last) in lexicon.blocked:
            return Noun(None, start, stop)
        for base in base_forms(last):
            name = lexicon.phrases.get((*inner, base))
            if name is not None:
                several = base != last or " ".join((*inner, base)) in lexicon.several
                return Noun(name, start, stop, several)
            if base != last and (*inner, base) in lexicon.blocked:
                return Noun(None, start, stop)
    toys = lexicon.words("makes toys")
    if words[start].lower in toys and start + 1 < len(words):
        toy = _longest(words, start + 1, lexicon)
        if toy is not None and toy.name is not None and lexicon.group_of.get(toy.name) == "animals":
            name = "stuffed animal" if toy.name == "animal" else f"stuffed {toy.name}"
            return Noun(name, start, toy.stop, toy.is_several)
    return None


def with_sense(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> Noun:
    """The noun by what it means in its sentence: a mouse beside a keyboard is a computer's."""
    if noun.name is None:
        return noun
    sentence = words[noun.start].sentence
    around = {base for word in words if word.sentence == sentence for base in base_forms(word.lower)}
    text = tuple(word.lower for word in words[noun.start : noun.stop])
    worn = lexicon.grammar["worn"].get(text[-1]) if len(text) == 1 else None
    if worn is not None and is_worn(noun, words, lexicon):
        return replace(noun, name=worn)
    for phrase in dict.fromkeys((" ".join(text), *(" ".join((*text[:-1], base)) for base in base_forms(text[-1])))):
        for sense in lexicon.senses.get(phrase, ()):
            if not sense["near"] or around & set(sense["near"]):
                return replace(noun, name=sense["name"])
    return noun


def is_worn(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """Whether its sentence says before it that it is worn, or whose it is: "her glasses", "a man with glasses"."""
    before = [word for word in words[: noun.start] if word.sentence == words[noun.start].sentence]
    if any(word.lower in lexicon.words("wearing") for word in before):
        return True
    if before and before[-1].lower in lexicon.words("possessives"):
        return True
    if len(before) > 1 and before[-1].lower == "with":
        bases = [(base,) for base in base_forms(before[-2].lower)]
        return any(lexicon.group_of.get(lexicon.phrases.get(base, ""), "") == "people" for base in bases)
    return False

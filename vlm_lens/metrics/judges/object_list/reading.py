"""The objects that a caption names, each once."""

from vlm_lens.metrics.judges.judge import Mention
from vlm_lens.metrics.judges.object_list.denials import denied
from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.matching import can_be_one, is_broader
from vlm_lens.metrics.judges.object_list.noun_rules import objects_among, word_at
from vlm_lens.metrics.judges.object_list.nouns import nouns_of, with_sense
from vlm_lens.metrics.judges.object_list.open_nouns import unknown_nouns
from vlm_lens.metrics.judges.object_list.thing import Thing
from vlm_lens.metrics.judges.object_list.words import words_of

_POINTS_BACK = ("the", "this", "that", "these", "those")


def things_of(caption: str, lexicon: Lexicon, *, open_vocabulary: bool) -> list[Thing]:
    """The physical objects that a caption names and does not deny, in the order of their first mention.

    Objects of one name are one. So is one that is taken up again by an article under another name that fits: "a cyclist
    ... the man".
    """
    words = words_of(caption)
    nouns = [with_sense(noun, words, lexicon) for noun in nouns_of(words, lexicon)]
    kept = objects_among(nouns, words, lexicon)
    if open_vocabulary:
        found = {noun.start: noun for noun in unknown_nouns(words, nouns, kept, lexicon)}
        kept = sorted([*kept, *found.values()], key=lambda noun: noun.start)
    gone = denied(kept, words, lexicon)
    things: list[Thing] = []
    for noun in kept:
        if noun in gone:
            continue
        assert noun.name is not None
        start, stop = words[noun.start].start, words[noun.stop - 1].stop
        mention = Mention(caption[start:stop], start, stop)
        points_back = word_at(words, noun.start - 1) in _POINTS_BACK
        thing = _met_before(noun.name, noun.is_several, points_back, things, lexicon)
        if thing is None:
            things.append(Thing([noun.name], noun.is_several, [mention]))
            continue
        thing.mentions.append(mention)
        thing.is_several |= noun.is_several
        if noun.name not in thing.names:
            thing.names.append(noun.name)
    return things


def _met_before(name: str, is_several: bool, points_back: bool, things: list[Thing], lexicon: Lexicon) -> Thing | None:
    for thing in things:
        if name in thing.names:
            return thing
    if points_back:
        for thing in reversed(things):
            if thing.is_several == is_several and can_be_one(thing.names, [name], lexicon):
                people = lexicon.group_of.get(name) == "people"
                if people or any(is_broader(name, other, lexicon) for other in thing.names):
                    return thing
    return None

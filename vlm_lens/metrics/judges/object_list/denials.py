"""What a caption says is not there."""

from collections.abc import Iterator, Sequence

from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.noun_rules import word_at
from vlm_lens.metrics.judges.object_list.nouns import Noun
from vlm_lens.metrics.judges.object_list.words import Word, base_forms

_MOST_UNKNOWN = 3
_HAS_ITS_VERB = 5


def denied(nouns: Sequence[Noun], words: Sequence[Word], lexicon: Lexicon) -> set[Noun]:
    """The nouns that are said to be absent: after "no" or "without", or before "cannot be seen"."""
    at = {noun.start: noun for noun in nouns}
    gone: set[Noun] = set()
    for start in _after_cues(words, lexicon):
        gone.update(_scope(start, at, words, lexicon))
    for noun in nouns:
        if _is_said_unseen(noun, words, lexicon):
            gone.add(noun)
            gone.update(_joined_before(noun, nouns, words))
    return gone


def _after_cues(words: Sequence[Word], lexicon: Lexicon) -> Iterator[int]:
    phrases = [tuple(phrase.split()) for phrase in lexicon.grammar["shape of"]]
    for index, word in enumerate(words):
        is_cue = word.lower in lexicon.words("denials") and not word.is_joined
        if is_cue and word_at(words, index + 1) not in lexicon.words("no denial before"):
            yield index + 1
        for phrase in phrases:
            if tuple(one.lower for one in words[index : index + len(phrase)]) == phrase:
                yield index + len(phrase)


def _scope(start: int, at: dict[int, Noun], words: Sequence[Word], lexicon: Lexicon) -> Iterator[Noun]:
    """From a cue on: the first noun phrase, and those that "or", "nor" and bare commas add to it."""
    index, n_unknown, has_noun, was_joined = start, 0, False, True
    stops = lexicon.words("prepositions", "joining", "auxiliaries", "verbs")
    while index < len(words):
        word = words[index].lower
        if index in at or set(base_forms(word)) & lexicon.not_objects("positions"):
            if not was_joined:
                return
            if index in at:
                yield at[index]
            index = at[index].stop if index in at else index + 1
            has_noun, was_joined, n_unknown = True, False, 0
            if word_at(words, index) == "of":  # no sign of a dog
                was_joined, index = True, index + 1
            continue
        if has_noun and not was_joined:
            if word in ("or", "nor") or (word == "," and not _begins_anew(index + 1, words, lexicon)):
                was_joined = True
            else:
                return
        elif word in (",", "or", "nor") and has_noun:
            pass
        elif word not in lexicon.words("passed by a denial", "determiners", "adjectives"):
            n_unknown += 1
            if words[index].is_mark or word in stops or n_unknown > _MOST_UNKNOWN:
                return
        index += 1


def _begins_anew(index: int, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """After a comma: an article, preposition or verb begins something else; a bare noun goes on with the list."""
    word = word_at(words, index)
    begins = lexicon.words("prepositions", "auxiliaries", "pronouns", "indefinite")
    others = (lexicon.words("joining") - {"or", "nor"}) | {"the"}
    return word in begins | others or not word.isalpha()


def _is_said_unseen(noun: Noun, words: Sequence[Word], lexicon: Lexicon) -> bool:
    verb = word_at(words, noun.stop)
    if verb not in lexicon.words("auxiliaries"):
        return False
    told = []
    for index in range(noun.stop, noun.stop + _HAS_ITS_VERB):
        if not word_at(words, index).isalpha() and "'" not in word_at(words, index):
            break
        told.append(word_at(words, index))
    if set(told) & lexicon.words("absent"):
        return True
    is_denied = any(word in ("not", "cannot", "never") or word.endswith("n't") or word == "can't" for word in told)
    return is_denied and bool(set(told) & lexicon.words("unseen"))


def _joined_before(noun: Noun, nouns: Sequence[Noun], words: Sequence[Word]) -> Iterator[Noun]:
    """The cat of "the cat and the dog are not visible"."""
    for other in nouns:
        between = [word.lower for word in words[other.stop : noun.start]]
        if other.stop <= noun.start and between and between[0] in ("and", "or") and len(between) <= 2:
            yield other

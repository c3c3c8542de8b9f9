"""Where a caption has an element that a language model lists."""

from vlm_lens.metrics.judges.judge import Mention
from vlm_lens.metrics.judges.object_list.words import base_forms, words_of


def mentions_of(name: str, caption: str) -> tuple[Mention, ...]:
    """The places in a caption with these words; the last one may stand in the singular or plural.

    Example:
        >>> [found.text for found in mentions_of("fire hydrant", "Two fire hydrants. A hydrant.")]
        ['fire hydrants']
    """
    words, sought = words_of(caption), [word.lower for word in words_of(name)]
    found = []
    for start in range(len(words) - len(sought) + 1 if sought else 0):
        here = words[start : start + len(sought)]
        is_same = [word.lower for word in here[:-1]] == sought[:-1]
        if is_same and set(base_forms(here[-1].lower)) & set(base_forms(sought[-1])):
            found.append(Mention(caption[here[0].start : here[-1].stop], here[0].start, here[-1].stop))
    return tuple(found)

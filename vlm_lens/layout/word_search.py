"""Finding a word among token pieces: whole words, however many pieces they take."""

import re
from collections.abc import Sequence
from itertools import accumulate


def find_words(pieces: Sequence[str], word: str, is_searched: Sequence[bool]) -> list[tuple[int, ...]]:
    """The positions of each whole-word occurrence of `word` in the text that the pieces spell.

    Case matters. "cat" is found in "a cat." and not in "category"; "polar bear" may span any
    number of pieces. A piece without text (a byte of a character that an earlier piece spells)
    belongs to the character before it.

    Args:
        pieces: the text of each position; together they spell the row.
        word: what to look for, without the space before it.
        is_searched: False at positions that are not text (image and padding).
    """
    texts = [p if searched else "\x00" for p, searched in zip(pieces, is_searched, strict=True)]
    ends = list(accumulate(len(text) for text in texts))
    text = "".join(texts)
    found = []
    for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text):
        positions = []
        for position, end in enumerate(ends):
            start = end - len(texts[position])
            if texts[position]:
                is_inside = start < match.end() and end > match.start()
            else:
                is_inside = match.start() < start <= match.end() and not text[start - 1].isascii()
            if is_inside:
                positions.append(position)
        found.append(tuple(positions))
    return found

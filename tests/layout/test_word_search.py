"""Whole words among pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.layout.word_search import find_words


def everywhere(pieces: list[str], word: str) -> list[tuple[int, ...]]:
    return find_words(pieces, word, [True] * len(pieces))


@pytest.mark.parametrize(
    ("pieces", "word", "expected"),
    [
        (["a", " cat", "."], "cat", [(1,)]),
        (["a", " category"], "cat", []),
        (["a", " cat", "egory", " cat"], "cat", [(3,)]),
        (["con", "cat"], "cat", []),
        (["a", " gir", "af", "fe", "!"], "giraffe", [(1, 2, 3)]),
        (["a", " polar", " bear", "s", " polar", " bear"], "polar bear", [(4, 5)]),
        ([" cat", " Cat", " CAT"], "Cat", [(1,)]),
        (["the", " caf", "é", "", " is"], "café", [(1, 2, 3)]),
        ([" cat", "", " sat"], "cat", [(0,)]),
        ([" a.b", " axb"], "a.b", [(0,)]),
    ],
)
def test_words_are_found_whole(pieces: list[str], word: str, expected: list) -> None:
    assert everywhere(pieces, word) == expected


def test_image_and_padding_are_no_text_and_divide_words() -> None:
    pieces = ["cat", "<image>", "fish", " image"]
    assert find_words(pieces, "image", [True, False, True, True]) == [(3,)]
    assert find_words(pieces, "fish", [True, False, True, True]) == [(2,)]


@given(st.text("ab é", max_size=30), st.lists(st.integers(1, 4)), st.sampled_from(["a", "ab", "éa"]))
def test_the_pieces_found_spell_the_word_however_the_text_is_cut(text: str, cuts: list[int], word: str) -> None:
    pieces, rest = [], text
    for cut in cuts:
        pieces, rest = [*pieces, rest[:cut]], rest[cut:]
    pieces.append(rest)
    found = everywhere(pieces, word)
    n_expected = sum(token == word for token in text.split())
    assert len(found) == n_expected
    for positions in found:
        assert word in "".join(pieces[p] for p in positions)

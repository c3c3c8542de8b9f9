"""From an object that a judge names to the positions of its words."""

import pytest

from vlm_lens.experiments.localisation.named_tokens import phrase_of, positions_of
from vlm_lens.layout import TokenLayout
from vlm_lens.metrics.judges import Mention, NamedObject

PIECES = (" A", " ba", "seball", " bat", " and", " two", " bat", "s", ".", "</s>")
TEXT = "A baseball bat and two bats."
FIRST = 3
"""The prompt holds a "bat" too, which is not what was generated."""


def layout(pieces: tuple[str, ...] = PIECES) -> TokenLayout:
    prompt = ("<s>", " bat", ":")
    return TokenLayout.from_roles([["bos", "question", "role"]], strings=[prompt]).extended([list(pieces)])


def named(*words: str) -> NamedObject:
    mentions = [Mention(word, TEXT.index(word), TEXT.index(word) + len(word)) for word in words]
    return NamedObject("anything", tuple(mentions))


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (("baseball bat",), (1, 2, 3)),
        (("bats",), (6, 7)),
        (("baseball bat", "bats"), (1, 2, 3, 6, 7)),
        (("two",), (5,)),
    ],
)
def test_all_pieces_of_all_mentions_are_found(words: tuple[str, ...], places: tuple[int, ...]) -> None:
    assert positions_of(named(*words), TEXT, layout()) == tuple(FIRST + place for place in places)


def test_a_name_without_a_place_is_looked_for_in_the_generated_text_alone() -> None:
    assert positions_of(NamedObject("Bat"), TEXT, layout()) == (FIRST + 3, FIRST + 6, FIRST + 7)
    assert positions_of(NamedObject("wooden bat"), TEXT, layout()) == (FIRST + 3, FIRST + 6, FIRST + 7)
    assert positions_of(NamedObject("ball"), TEXT, layout()) == ()


def test_a_special_token_inside_of_the_text_does_not_move_the_words() -> None:
    pieces = (*PIECES[:4], "<odd>", *PIECES[4:])
    assert positions_of(named("two"), TEXT, layout(pieces)) == (FIRST + 6,)


def test_the_words_of_a_description_are_its_first_mention() -> None:
    assert phrase_of(named("bats", "two")) == "bats" and phrase_of(NamedObject("bat")) == "bat"

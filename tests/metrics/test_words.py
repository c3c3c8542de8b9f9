"""Base forms of nouns, by a list written by hand."""

import pytest

from vlm_lens.metrics.words import base_form, is_form_of, words_of

PLURALS = """
dogs dog; buses bus; glasses glass; knives knife; mice mouse; people person; persons person; men man; women woman;
children child; teeth tooth; feet foot; wolves wolf; geese goose; leaves leaf; calves calf; horses horse; hooves hoof;
benches bench; couches couch; sandwiches sandwich; potatoes potato; cookies cookie; ties tie; tvs tv; zebras zebra;
cameras camera; skis ski; boxes box; cities city; scarves scarf; shelves shelf; loaves loaf; bunnies bunny; toys toy;
frisbees frisbee; toothbrushes toothbrush; selfies selfie; oxen ox; eyes eye; wings wing; beaks beak; noses nose
"""
UNCHANGED = """
dog bus glass gas grass tennis cactus scissors sheep broccoli asparagus canvas octopus lens walrus iris campus chess
dress mattress jeans clothes news was is has this his us yes left saw wearing standing red always 3 isn't
"""


@pytest.mark.parametrize("pair", [one.strip() for one in PLURALS.split(";")])
def test_a_plural_has_its_singular(pair: str) -> None:
    plural, singular = pair.split()
    assert base_form(plural) == singular
    assert is_form_of(plural, singular) and is_form_of(singular, plural)


@pytest.mark.parametrize("word", UNCHANGED.split())
def test_what_is_no_plural_stays(word: str) -> None:
    assert base_form(word) == word and is_form_of(word, word)


@pytest.mark.parametrize("pair", ["cat car", "bear bears-ear", "glass gas", "bus bush", "man woman", "ear tear"])
def test_other_nouns_are_no_forms(pair: str) -> None:
    word, noun = pair.split()
    assert not is_form_of(word, noun) and not is_form_of(noun, word)


def test_words_have_no_case_no_punctuation_and_no_possessive() -> None:
    assert words_of("") == [] and words_of(" ... ") == []
    assert words_of("The cat's bowl, the girls' two T-shirts; don’t!") == (
        ["the", "cat", "bowl", "the", "girls", "two", "t", "shirts", "don't"]
    )
    assert words_of("hand_bag naïve 3rd") == ["hand", "bag", "naïve", "3rd"]

"""Counts of mentions, by hand and against a search text by text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from vlm_lens.errors import InputError
from vlm_lens.metrics.frequency import mention_frequency, stems_of

CAPTIONS = [
    "A dog's legs, and the dogs' tails!",
    "Two puppies; one HEAD.",
    "A horse. Its head/neck is brown, its hind legs are white.",
    "Legs of a table.",
    "A cat and a dog beside a horse: three heads.",
    "",
]
OBJECTS = {"dog": ["puppy"], "horse": ["pony"], "cow": []}
PARTS = {"leg": ["hind leg", "limb"], "head": [], "neck": [], "tail": ["brush"]}


def test_captions_counted_by_hand() -> None:
    found = mention_frequency(iter(CAPTIONS), OBJECTS, PARTS)
    assert found.n_texts == 6 and found.objects == ("dog", "horse", "cow") and found.parts == tuple(PARTS)
    assert found.of_object.tolist() == [3, 2, 0]
    assert found.of_part.tolist() == [3, 3, 1, 1]
    assert found.together.tolist() == [[1, 2, 0, 1], [1, 2, 1, 0], [0, 0, 0, 0]]


def test_stems_are_of_lower_case_words_without_punctuation() -> None:
    assert stems_of("Legs, leg; LEG'S (legged) hooves-and_paws") == ["leg", "leg", "leg", "leg", "hoov", "and", "paw"]
    assert stems_of("…!") == []


def test_a_term_of_several_words_is_several_words_in_a_row() -> None:
    parts = {"front leg": []}
    texts = ["its front legs", "a leg in front", "front, legs", "in front"]
    found = [mention_frequency([text], {}, parts).of_part.tolist() for text in texts]
    assert found == [[1], [0], [1], [0]]


WORDS = some.sampled_from("dog dogs puppy horse leg legs head hind cat a the".split())


@given(some.lists(some.lists(WORDS, max_size=7).map(" ".join), max_size=6))
def test_counts_are_those_of_a_search_for_each_term_in_each_text(texts: list[str]) -> None:
    found = mention_frequency(texts, OBJECTS, PARTS)

    def names(text: str, name: str, others: list[str]) -> bool:
        said = f" {' '.join(stems_of(text))} "
        return any(f" {' '.join(stems_of(term))} " in said for term in [name, *others])

    is_object = np.array([[names(text, *one) for one in OBJECTS.items()] for text in texts], bool).reshape(-1, 3)
    is_part = np.array([[names(text, *one) for one in PARTS.items()] for text in texts], bool).reshape(-1, 4)
    assert found.of_object.tolist() == is_object.sum(axis=0).tolist()
    assert found.of_part.tolist() == is_part.sum(axis=0).tolist()
    assert found.together.tolist() == (is_object[:, :, None] & is_part[:, None]).sum(axis=0).tolist()


def test_terms_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="at least one word in each"):
        mention_frequency([], {"dog": ["!"]}, {})
    with pytest.raises(InputError, match="several texts"):
        mention_frequency([], {"dog": "puppy"}, {})

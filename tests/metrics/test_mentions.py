"""Whether a thing is named, by the rule of whole words and by that of the paper's code."""

import pytest

from vlm_lens.errors import InputError
from vlm_lens.metrics.mentions import mentions, places_of


@pytest.mark.parametrize(
    ("text", "name", "by_words", "as_written"),
    [
        ("A dog on a bed.", "dog", True, True),
        ("Two Dogs on a bed.", "dog", True, False),  # the case
        ("Dog", "dog", True, False),
        ("Leaves scatter.", "cat", False, True),  # within a word
        ("A hotdog.", "dog", False, True),
        ("Three people wait.", "person", True, False),  # an irregular plural
        ("The knives lie there.", "knife", True, False),
        ("Two traffic lights.", "traffic light", True, True),
        ("The traffic is light.", "traffic light", False, False),
        ("A traffic-light.", "traffic light", True, False),
        ("The dog's bowl.", "dog", True, True),
        ("A cat.", "dog", False, False),
        ("", "dog", False, False),
        ("A pair of scissors.", "scissors", True, True),
    ],
)
def test_where_the_two_rules_agree_and_where_they_do_not(
    text: str, name: str, by_words: bool, as_written: bool
) -> None:
    assert mentions(text, name) is by_words
    assert mentions(text, name, "as written") is as_written


def test_the_papers_text_holds_the_prompt_and_so_the_name() -> None:
    prompt, answer = "USER: \nIs there a dog in this image? ASSISTANT:", " No."
    assert mentions(prompt + answer, "dog", "as written") and not mentions(answer, "dog")


def test_synonyms_count_as_names() -> None:
    assert not mentions("A sofa.", "couch")
    assert mentions("Some sofas.", "couch", synonyms=["sofa", "love seat"])
    assert mentions("A love seat.", "couch", synonyms=["sofa", "love seat"])


def test_a_name_within_another_name_is_left_out_and_beside_it_counts() -> None:
    assert not mentions("A hot dog and two hot dogs.", "dog", but_not=["hot dog"])
    assert mentions("A hot dog and a dog.", "dog", but_not=["hot dog", "corn dog"])


def test_places_are_those_of_words() -> None:
    assert places_of(["a", "wine", "glass", "and", "wine", "glasses"], "wine glass") == [(1, 3), (4, 6)]
    assert places_of(["a"], "wine glass") == []


def test_what_is_no_rule_and_what_is_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="one of words, as written"):
        mentions("A dog.", "dog", "somehow")
    with pytest.raises(InputError, match="at least one word"):
        mentions("A dog.", " - ")

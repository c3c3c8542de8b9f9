"""The token that a model would say next, against the beginning of the right answer."""

import pytest

from vlm_lens.errors import InputError
from vlm_lens.metrics.first_token import begins_answer


@pytest.mark.parametrize(
    ("token", "answer", "first_piece", "by_words", "as_prefix"),
    [
        (" dog", "dog", "▁dog", True, True),
        ("dog", "dog", "▁dog", True, True),
        ("▁dog", "dog", "▁dog", True, True),
        ("Ġdog", "dog", "Ġdog", True, True),
        (" Dog", "dog", "▁dog", True, False),  # the case
        (" dogs", "dog", "▁dog", True, False),  # the number
        (" cat", "dog", "▁dog", False, False),
        ("", "dog", "▁dog", False, True),  # empty: a beginning of everything
        (" ", "dog", "▁dog", False, True),
        ("\n", "dog", "▁dog", False, True),
        ("▁", "dog", "▁dog", False, True),
        (" b", "bear", "▁bear", False, True),  # a letter of a word that has a token of its own
        (" gir", "giraffe", "▁gir", True, True),  # the first piece of a word that has none
        (" g", "giraffe", "▁gir", False, True),
        (" giraffe", "giraffe", "▁gir", True, False),
        (" teddy", "teddy bear", "▁ted", True, False),
        (" ted", "teddy bear", "▁ted", True, True),
        (" bear", "teddy bear", "▁ted", False, False),
        (" .", "dog", "▁dog", False, False),
    ],
)
def test_how_each_rule_reads_a_token(
    token: str, answer: str, first_piece: str, by_words: bool, as_prefix: bool
) -> None:
    assert begins_answer(token, answer, first_piece) is by_words
    assert begins_answer(token, answer, first_piece, "prefix") is as_prefix


def test_what_is_no_answer_and_what_is_no_rule_is_refused() -> None:
    with pytest.raises(InputError, match="at least one word"):
        begins_answer(" dog", "", "▁dog")
    with pytest.raises(InputError, match="at least one word"):
        begins_answer(" dog", "dog", "▁")
    with pytest.raises(InputError, match="one of words, prefix"):
        begins_answer(" dog", "dog", "▁dog", "nearly")

"""Each token's own text, as it reads after the tokens before it."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inputs.tiny_processors import tokenizer_of
from vlm_lens.inputs import piece_strings

KINDS = ["sentencepiece", "byte level"]


shared_tokenizer = cache(tokenizer_of)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(alphabet="ab cé猫🐈.", max_size=20), cut=st.integers(0, 40))
@settings(max_examples=30)
def test_pieces_spell_the_text_and_each_token_has_one(kind: str, text: str, cut: int) -> None:
    tokenizer = shared_tokenizer(kind)
    ids = tokenizer("x" + text, add_special_tokens=False)["input_ids"]
    whole = piece_strings(tokenizer, ids)
    assert len(whole) == len(ids)
    assert "".join(whole) == tokenizer.decode(ids)
    if cut < len(ids) and whole[cut]:
        assert whole[cut:] == piece_strings(tokenizer, ids[cut:], before=ids[:cut])


def test_the_bytes_of_one_character_give_it_to_the_first() -> None:
    tokenizer = tokenizer_of()
    ids = tokenizer("a 🐈 cat", add_special_tokens=False)["input_ids"]
    pieces = piece_strings(tokenizer, ids)
    cat = pieces.index("🐈")
    assert pieces[cat : cat + 4] == ["🐈", "", "", ""]


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_that_is_never_completed_ends_the_text(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer("a🐈", add_special_tokens=False)["input_ids"]
    pieces = piece_strings(tokenizer, ids[:-1])
    assert "".join(pieces).startswith("a\ufffd")
    assert len(pieces) == len(ids) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_before_decides_the_space_and_not_where_decoding_began(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer("x cat</s> sat 猫猫猫 <image> on a mat")["input_ids"]
    whole = piece_strings(tokenizer, ids)
    for cut in range(len(ids)):
        if whole[cut]:  # not inside a character
            assert piece_strings(tokenizer, ids[cut:], before=ids[:cut]) == whole[cut:]

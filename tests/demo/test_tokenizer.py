"""The demo tokenizer: grammar words are one piece, and all other text survives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.demo.scenes import COLORS, KINDS, SURFACES
from vlm_lens.demo.text import corpus
from vlm_lens.demo.tokenizer import IMAGE, SPECIAL_TOKENS
from vlm_lens.demo.training.training_run import demo_tokenizer

TOKENIZER = demo_tokenizer()
CLIP_TOKENIZER = demo_tokenizer(appends_end=True)


def decoded(text: str) -> str:
    return TOKENIZER.decode(TOKENIZER(text)["input_ids"], skip_special_tokens=True)


@pytest.mark.parametrize("word", [*KINDS, *COLORS, *SURFACES, "Yes", "No", "ASSISTANT", "USER"])
def test_words_of_the_grammar_are_one_piece(word: str) -> None:
    ids = TOKENIZER(f"a {word}", add_special_tokens=False)["input_ids"]
    assert TOKENIZER.convert_ids_to_tokens(ids) == ["▁a", f"▁{word}"]


def test_every_text_of_the_corpus_has_as_many_tokens_as_words_and_punctuation() -> None:
    for text in list(corpus())[::17]:
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        assert len(ids) == len(re.findall(r"\w+|[^\w\s]", text)), text


@given(st.text(st.characters(exclude_characters="▁"), max_size=40))
def test_any_text_survives_but_for_one_leading_space(text: str) -> None:
    assert decoded(text) == text.removeprefix(" ")


@pytest.mark.parametrize("text", ["a cat", "naïve 猫\n\nxylophone!", "tab\tand  two spaces"])
def test_text_outside_the_grammar_comes_back_as_it_was(text: str) -> None:
    assert decoded(text) == text


def test_a_text_begins_with_bos_and_ends_with_eos_only_for_clip() -> None:
    bos, eos = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
    assert TOKENIZER("a cat")["input_ids"][0] == bos
    assert TOKENIZER("a cat")["input_ids"][-1] != eos
    assert CLIP_TOKENIZER("a cat")["input_ids"] == [*TOKENIZER("a cat")["input_ids"], eos]


def test_the_image_marker_is_one_token_and_splits_words() -> None:
    ids = TOKENIZER(f"USER: {IMAGE}\nIs there a cat?")["input_ids"]
    pieces = TOKENIZER.convert_ids_to_tokens(ids)
    assert pieces == ["<s>", "▁USER", ":", "▁", IMAGE, "<0x0A>", "Is", "▁there", "▁a", "▁cat", "?"]


def test_the_end_of_a_text_is_not_number_two() -> None:
    # CLIPTextModel pools at the largest id where the end is number 2
    assert CLIP_TOKENIZER.eos_token_id == SPECIAL_TOKENS.index("</s>") != 2

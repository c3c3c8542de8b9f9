"""Aliases against the vocabularies themselves, of each of the three ways in which words are marked."""

from functools import cache
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vlm_lens.data.labels import LABEL_SETS, VOCABULARIES, alias_table, aliases_of, surface_forms
from vlm_lens.demo import vlm_folder
from vlm_lens.demo.tokenizer import build_tokenizer
from vlm_lens.errors import InputError

CORPUS = [" leg legs Leg arm arms head heads foot feet people person cat cats dog"] * 4 + ["a b c leg legs arm"]


@cache
def tokenizer_of(vocabulary: str) -> Any:
    """A small tokenizer that writes words as LLaMA's, as Qwen's, or as CLIP's."""
    if vocabulary in ("llama", "demo"):
        return build_tokenizer(CORPUS)
    is_clip = vocabulary == "clip"
    end = {"end_of_word_suffix": "</w>"} if is_clip else {}
    unknown = {"unk_token": "<unk>"} if is_clip else {}
    tokenizer = Tokenizer(models.BPE(**end, **unknown))
    if is_clip:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("\n", " "), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>"],
        initial_alphabet=[] if is_clip else pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **end,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **unknown)


def as_text(piece: str) -> str:
    return piece.replace("▁", " ").replace("Ġ", " ").removesuffix("</w>")


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("label", ["leg", "arm", "head", "foot", "person", "cat", "dog", "muzzle"])
def test_aliases_are_exactly_the_entries_of_the_vocabulary_that_are_a_form(vocabulary: str, label: str) -> None:
    """A loop over the whole vocabulary finds the same ids."""
    tokenizer = tokenizer_of(vocabulary)
    forms = set(surface_forms(label, vocabulary))
    entries = tokenizer.get_vocab().items()
    expected = {id for piece, id in entries if as_text(piece) in forms and (vocabulary != "clip" or "</w>" in piece)}
    found = aliases_of(label, tokenizer, vocabulary)
    assert found.tokens == tuple(sorted(expected))
    assert found.is_whole == bool(expected)
    assert set(found.forms) | set(found.split) == forms and not set(found.forms) & set(found.split)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_what_is_split_is_told_with_pieces_that_spell_the_form(vocabulary: str) -> None:
    found = aliases_of("muzzle", tokenizer_of(vocabulary), vocabulary)
    assert found.tokens == () and set(found.split) == set(surface_forms("muzzle", vocabulary))
    for form, pieces in found.split.items():
        assert len(pieces) > 1
        if vocabulary != "clip":  # its letters outside of the corpus are unknown
            assert as_text("".join(pieces)) == form


@pytest.mark.parametrize("vocabulary", ["llama", "llama3", "qwen", "clip"])
def test_the_vocabulary_is_found_by_how_it_marks_words(vocabulary: str) -> None:
    tokenizer = tokenizer_of(vocabulary)
    assert aliases_of("leg", tokenizer).tokens == aliases_of("leg", tokenizer, vocabulary).tokens != ()


def test_capitals_can_be_left_out() -> None:
    tokenizer = tokenizer_of("qwen")
    with_capitals, without = aliases_of("leg", tokenizer), aliases_of("leg", tokenizer, capitals=False)
    assert set(with_capitals.forms) - set(without.forms) == {" Leg", "Leg"}
    assert len(with_capitals.tokens) == len(without.tokens) + 2


def test_a_label_without_a_whole_token_is_told_with_its_first_piece_that_says_something() -> None:
    tokenizer = tokenizer_of("llama")
    found = aliases_of("torso", tokenizer)
    pieces = tokenizer.tokenize("torso")
    first = next(piece for piece in pieces if piece != "▁")
    assert not found.is_whole and found.stand_in_piece == first
    assert found.stand_in == tokenizer.convert_tokens_to_ids(first)
    assert found.tokens_or_stand_in == (found.stand_in,)
    whole = aliases_of("leg", tokenizer)
    assert whole.stand_in is None and whole.tokens_or_stand_in == whole.tokens


def test_the_table_has_a_row_for_each_form_and_one_for_what_stands_in() -> None:
    tokenizer = tokenizer_of("qwen")
    table = alias_table(["leg", "muzzle"], tokenizer)
    assert list(table.columns) == ["label", "form", "role", "token", "pieces"]
    leg = table[(table.label == "leg") & (table.role == "alias")]
    assert tuple(sorted(leg.token)) == aliases_of("leg", tokenizer).tokens
    assert dict(zip(leg.form, leg.pieces, strict=True))[" leg"] == "Ġleg"
    muzzle = table[table.label == "muzzle"]
    assert list(muzzle.role) == ["split"] * len(surface_forms("muzzle", "llama3")) + ["stand-in"]
    assert muzzle.token.isna().sum() == len(muzzle) - 1
    assert muzzle.token.iloc[-1] == aliases_of("muzzle", tokenizer).stand_in
    assert len(alias_table([], tokenizer)) == 0


def test_every_label_of_the_scenes_is_whole_for_the_bundled_model() -> None:
    """Its tokenizer is made of a grammar that has these words; where one is split, an experiment has to know."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(vlm_folder())
    split = [label for label in LABEL_SETS["scenes"] if not aliases_of(label, tokenizer, "demo").is_whole]
    assert split == []


def test_a_tokenizer_that_marks_no_words_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(["a b"], trainers.BpeTrainer(show_progress=False))
    with pytest.raises(InputError, match=r"words marked by one of '▁', 'Ġ', '</w>', got 'a b' as"):
        aliases_of("leg", PreTrainedTokenizerFast(tokenizer_object=tokenizer))

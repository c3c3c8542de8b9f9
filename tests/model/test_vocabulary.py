"""Between text and tokens, with TransformerLens's verbs."""

import pytest
import torch

from tests.inputs.tiny_processors import processor_of, tokenizer_of
from tests.model.tiny_vlms import tiny_checkpoint
from tests.model.written_out import distance
from vlm_lens import HookedVLM
from vlm_lens.errors import InputError


@pytest.fixture(scope="module", params=["sentencepiece", "byte level"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def speaking(kind: str) -> HookedVLM:
    return HookedVLM.from_hf(tiny_checkpoint(), processor_of(kind))


def test_tokens_are_the_tokenizers(speaking: HookedVLM, kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    text = "Is there a cat"
    expected = tokenizer(text)["input_ids"]
    assert speaking.to_tokens(text).tolist() == [expected]
    assert speaking.to_tokens(text, truncate=True).tolist() == [expected]
    assert speaking.to_string(speaking.to_tokens(text)[0, -3:]).strip() == tokenizer.decode(expected[-3:]).strip()


def test_bos_comes_first_where_asked(speaking: HookedVLM, kind: str) -> None:
    bos = speaking.tokenizer.bos_token_id
    without = speaking.to_tokens("the fox", prepend_bos=False)[0].tolist()
    assert bos not in without
    starts = speaking.to_tokens("the fox", prepend_bos=True)[0].tolist()
    assert starts == (without if bos is None else [bos, *without])


def test_several_texts_are_padded_on_the_left_and_change_nothing(speaking: HookedVLM) -> None:
    texts = ["the quick brown fox", "a cat"]
    tokens = speaking.to_tokens(texts)
    short = speaking.to_tokens(texts[1])[0]
    n_padding = tokens.shape[1] - len(short)
    assert n_padding > 0 and tokens[1, :n_padding].tolist() == [speaking.pad_token_id] * n_padding
    assert tokens[1, n_padding:].tolist() == short.tolist()
    with torch.no_grad():
        together, alone = speaking(texts), speaking(texts[1])
    assert distance(together[1, n_padding:], alone[0]) <= 1e-5


def test_string_tokens_keep_their_spaces(speaking: HookedVLM, kind: str) -> None:
    pieces = speaking.to_str_tokens("Is there a cat", prepend_bos=False)
    assert "".join(pieces).strip() == "Is there a cat"
    assert " cat" in pieces
    assert speaking.to_str_tokens(speaking.to_tokens("a cat", prepend_bos=False)[0])[-1] == " cat"


def test_a_word_after_a_space_is_one_token(speaking: HookedVLM) -> None:
    token = speaking.to_single_token(" cat")
    assert speaking.to_single_str_token(token) == " cat"
    assert token == int(speaking.to_tokens("a cat")[0, -1])


def test_a_text_of_several_tokens_is_refused_with_its_pieces(speaking: HookedVLM) -> None:
    with pytest.raises(InputError, match=r"' zyxwv' is not a single token: expected one piece, got \d+: \["):
        speaking.to_single_token(" zyxwv")


def test_directions_give_the_logits_of_the_normalized_stream(speaking: HookedVLM) -> None:
    tokens = speaking.to_tokens("Is there a cat")
    with torch.no_grad():
        logits, cache = speaking.run_with_cache(tokens)
        normalized = cache["ln_final.hook_normalized"]
        one = speaking.tokens_to_residual_directions(" cat")
        assert one.shape == (speaking.cfg.d_model,)
        assert distance(normalized @ one, logits[..., speaking.to_single_token(" cat")]) <= 1e-5
        several = speaking.tokens_to_residual_directions(tokens)
        assert several.shape == (*tokens.shape, speaking.cfg.d_model)
        read = (normalized * several).sum(dim=-1)
        assert distance(read, logits.gather(-1, tokens[..., None])[..., 0]) <= 1e-5


def test_a_model_without_tokenizer_says_so(vlm: HookedVLM) -> None:
    for verb in (vlm.to_tokens, vlm.to_str_tokens, vlm.to_single_token):
        with pytest.raises(InputError, match="expected a tokenizer"):
            verb("cat")

"""Tokens as strings that keep apart what is apart."""

from collections.abc import Sequence
from typing import Any

import torch

from vlm_lens.errors import InputError


def token_names(model: Any, ids: Sequence[int]) -> list[str]:
    """A name for each token, never the same for two.

    It is the token's text where that text leads back to the token, and else the vocabulary's own piece:
    `<0xE9>` for a byte that is no character by itself. Outputs that the tokenizer does not know (a vocabulary padded to
    a round number), and all where there is no tokenizer, are `<32063>`.

    Args:
        model: a decoder, with a `tokenizer` or without.
        ids: the tokens.
    """
    ids = list(ids)
    if model.tokenizer is None:
        return [_number(token) for token in ids]
    pieces = model.tokenizer.convert_ids_to_tokens(ids)
    known = [token for token, piece in zip(ids, pieces, strict=True) if piece is not None]
    texts = dict(zip(known, model.to_str_tokens(torch.as_tensor(known)), strict=True)) if known else {}
    return [
        _number(token) if piece is None else texts[token] if leads_back(model, texts[token], token) else piece
        for token, piece in zip(ids, pieces, strict=True)
    ]


def leads_back(model: Any, text: str, token: int) -> bool:
    """Whether a text is the single token `token`."""
    try:
        return bool(model.to_single_token(text) == token)
    except InputError:  # several tokens
        return False


def _number(token: int) -> str:
    return f"<{token}>"

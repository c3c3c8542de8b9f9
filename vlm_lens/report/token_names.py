"""Tokens as strings that keep apart what is apart."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.plotting import TopTokens


def token_names(vlm: HookedVLM, ids: Sequence[int]) -> list[str]:
    """A name for each token, never the same for two.

    It is the token's text where that text leads back to the token, and else the vocabulary's own piece:
    `<0xE9>` for a byte that is no character by itself.
    """
    texts = vlm.to_str_tokens(torch.as_tensor(list(ids)))
    pieces = vlm.tokenizer.convert_ids_to_tokens(list(ids))
    return [
        text if leads_back(vlm, text, token) else piece for text, piece, token in zip(texts, pieces, ids, strict=True)
    ]


def leads_back(vlm: HookedVLM, text: str, token: int) -> bool:
    """Whether a text is the single token `token`."""
    try:
        return vlm.to_single_token(text) == token
    except InputError:  # several tokens
        return False


def top_tokens(vlm: HookedVLM, probabilities: Float[Tensor, "*place d_vocab"], n: int) -> TopTokens:
    """The `n` most probable tokens at each place."""
    best = probabilities.topk(min(n, probabilities.shape[-1]), dim=-1)
    known = sorted(set(best.indices.flatten().tolist()))
    names = dict(zip(known, token_names(vlm, known), strict=True))
    tokens = np.array([names[token] for token in best.indices.flatten().tolist()], dtype=np.str_)
    return TopTokens(tokens.reshape(tuple(best.indices.shape)), best.values.double().numpy())


def word_ids(vlm: HookedVLM, words: Sequence[str], answer: int) -> dict[str, int]:
    """The answer's token and that of each word as it stands inside a sentence, with a space before it.

    Raises:
        InputError: a word of several tokens.
    """
    ids = list(dict.fromkeys([answer, *(vlm.to_single_token(" " + word.strip()) for word in words)]))
    return dict(zip(token_names(vlm, ids), ids, strict=True))

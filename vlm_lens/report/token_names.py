"""Tokens as strings that keep apart what is apart."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.plotting import TopTokens
from vlm_lens.probes.token_names import token_names


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

"""Tokens as strings that keep apart what is apart."""

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

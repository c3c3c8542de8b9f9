"""The likeliest token of every patch after every layer."""

import numpy as np
import torch
from jaxtyping import Int

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.probes import LogitLens


def top_tokens(vlm: HookedVLM, inputs: Inputs, norms_last_twice: bool) -> Int[np.ndarray, "state patch"]:
    """For every state, the decoder's input first, the likeliest token of each patch of one picture.

    Args:
        vlm: the model.
        inputs: one picture and a prompt; what stands behind the picture changes nothing.
        norms_last_twice: whether the last state goes through the final norm twice.
    """
    lens = LogitLens(top_k=1, positions="image")
    last = f"blocks.{vlm.cfg.n_layers - 1}.hook_resid_post"
    run = vlm.run(inputs, lens, only_last=True, names_filter=last if norms_last_twice else [])
    found = run[lens]
    of_picture = found.places.is_patch_of(0, 0)
    tokens = found.top_ids[:, of_picture, 0].copy()
    if norms_last_twice:
        span = inputs.layout.image_span()
        assert run.cache is not None
        with torch.no_grad():
            states = run.cache[last][0, span.patch_positions.start : span.stop]
            logits = vlm.unembed(vlm.ln_final(vlm.ln_final(states[None])))
        tokens[-1] = logits[0].argmax(dim=-1).cpu().numpy()
    return tokens

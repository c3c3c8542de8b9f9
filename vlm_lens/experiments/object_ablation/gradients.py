"""Tokens of a picture by how much they count for the answer Yes: integrated gradients from the mean."""

import numpy as np

from vlm_lens.errors import InputError
from vlm_lens.estimates import Mean
from vlm_lens.experiments.answers import beginning_of
from vlm_lens.experiments.context import Context
from vlm_lens.inputs import Inputs
from vlm_lens.probes import IntegratedGradients
from vlm_lens.probes.answer import Contrast


def ranking_by_gradients(context: Context, polling: Inputs, question: str, mean: Mean) -> list[int]:
    """The picture's tokens, those that count most first; the number of patches stands for the text token behind it.

    A token's score is the sum of the absolute attributions over its embedding; the line starts with the picture's
    embeddings at the mean.

    Args:
        context: with the options.
        polling: the picture and "Is there a ...?".
        question: that question.
        mean: of projector outputs, one vector.
    """
    options, span = context.options, polling.layout.image_span()
    positions = list(span.patch_positions)
    target = explained_token(context, polling, question)
    if options.gradient_slice_takes_text:
        positions.append(span.stop)
        probe = IntegratedGradients(
            target, hook="hook_embed", positions=positions, baseline=mean.value, n_steps=options.n_steps
        )
        scores = context.vlm.run(polling, probe)[probe].absolute[0, positions]
    else:
        probe = IntegratedGradients(target, baseline=mean, n_steps=options.n_steps)
        scores = context.vlm.run(polling, probe)[probe].map("absolute").ravel()
    ranking: list[int] = np.argsort(-scores, kind="stable").tolist()
    return ranking


def explained_token(context: Context, polling: Inputs, question: str) -> Contrast:
    """The token whose logit the gradients explain.

    Raises:
        InputError: another `gradient_target` than the two.
    """
    vlm, target = context.vlm, context.options.gradient_target
    if target == "first id":
        return Contrast((int(vlm.to_tokens("Yes")[0, 0]),))
    if target == "answer":
        behind = polling.layout.text().rpartition(question)[2]
        token: int = context.once(f"Yes behind {behind!r}", lambda: beginning_of(vlm, "Yes", behind).token)
        return Contrast((token,))
    raise InputError("Option 'gradient_target'", "'answer' or 'first id'", repr(target))

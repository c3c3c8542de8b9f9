"""How much of a picture a compressed context needs: yes/no questions against the share of image tokens kept."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
import torch

from vlm_lens.context import CompressedContext, read_prompt
from vlm_lens.demo.evaluation.held_out import presence_questions
from vlm_lens.demo.evaluation.intervals import share
from vlm_lens.demo.evaluation.loaded import Question
from vlm_lens.demo.text import DESCRIBE

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
CONDITIONS: tuple[tuple[str, str], ...] = (("both", "top"), ("both", "random"), ("image", "top"), ("image", "random"))
"""Variant and order of the contexts that are cut at every share; "query" needs no share."""


def reprompting(
    vlm: Any,
    n: int = 200,
    shares: Sequence[float] = SHARES,
    conditions: Sequence[tuple[str, str]] = CONDITIONS,
    on_scene: Callable[[int], None] = lambda scene: None,
) -> pd.DataFrame:
    """Accuracy of answers from compressed contexts, one row for each kind of context, with 95% intervals.

    Each scene is described once ("Describe this image."), and its questions, as many yes as no, are asked of every
    context that can be cut from that. An answer is Yes where that token's logit is larger than No's. Random tokens are
    drawn anew for each scene. Columns: `variant` ("whole" is a full pass for each question), `order`, `share` of the
    image tokens, `n_tokens` held in each layer, `accuracy`, `low`, `high`, `n` and `says_yes`.

    Args:
        vlm: the bundled model, or one that knows its scenes.
        n: questions, two a scene.
        shares: of the image tokens.
        conditions: variants and orders.
        on_scene: is told of each scene when it is done.
    """
    answers: dict[tuple[str, str, float, int], list[tuple[bool, bool]]] = {}
    tokens = [vlm.to_single_token(word) for word in (" Yes", " No")]
    for number, (_, group) in enumerate(groupby(presence_questions(n), key=lambda question: question.scene.seed)):
        questions = list(group)
        for kind, says_yes in _answers(vlm, questions, shares, conditions, tokens, number):
            is_yes = [question.answer == "Yes" for question in questions]
            answers.setdefault(kind, []).extend(zip(says_yes, is_yes, strict=True))
        on_scene(number)
    rows = []
    for (variant, order, kept, n_tokens), pairs in answers.items():
        figure = share(sum(said == true for said, true in pairs), len(pairs))
        says_yes_share = sum(said for said, _ in pairs) / len(pairs)
        rows.append((variant, order, kept, n_tokens, figure.value, figure.low, figure.high, figure.n, says_yes_share))
    columns = ["variant", "order", "share", "n_tokens", "accuracy", "low", "high", "n", "says_yes"]
    return pd.DataFrame(rows, columns=columns)


@torch.no_grad()
def _answers(
    vlm: Any,
    questions: Sequence[Question],
    shares: Sequence[float],
    conditions: Sequence[tuple[str, str]],
    tokens: Sequence[int],
    seed: int,
) -> list[tuple[tuple[str, str, float, int], list[bool]]]:
    """Whether each question of one scene is answered by Yes, from each kind of context."""
    texts, image = [question.text for question in questions], questions[0].scene.image
    inputs = vlm.prepare([image] * len(texts), texts)
    whole = vlm(inputs, only_last=True)[:, -1, list(tokens)].argmax(dim=-1) == 0
    found = [(("whole", "", 1.0, inputs.shape[1]), whole.tolist())]
    read = read_prompt(vlm, image, prompt=DESCRIBE)

    def ask(context: CompressedContext, order: str, kept: float) -> None:
        first = context.ask(texts, max_new_tokens=1).logits[:, 0, list(tokens)]
        found.append(((context.variant, order, kept, context.n_kept), (first.argmax(dim=-1) == 0).tolist()))

    ask(read.compressed(0.0, "query"), "", 0.0)
    ask(read.compressed(0.0, "image"), "", 0.0)
    for variant, order in conditions:
        for kept in shares:
            ask(read.compressed(kept, variant, order=order, seed=seed), order, kept)
    return found

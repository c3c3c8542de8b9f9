"""The ways to answer questions about a picture that the table compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_lens.context import CompressedContext, ReadPrompt
from vlm_lens.experiments.reprompting.language_model import LanguageModel
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs

NAIVE, DESCRIBE, QUERY = "Naive", "Describe-to-LLM", "Query"


@dataclass(frozen=True)
class Said:
    """An answer as it was given.

    Attributes:
        method: how it was come by.
        text: the answer.
        n_held: positions that each layer holds before the question is read; 0 where all is read anew.
        n_new: tokens that are read for this question.
    """

    method: str
    text: str
    n_held: int
    n_new: int


def method_names(shares: Sequence[float], image_shares: Sequence[float]) -> list[str]:
    """The rows of the table, in the paper's order.

    >>> method_names((0.05, 0.02), (0.02,))
    ['Naive', 'Describe-to-LLM', 'Query + K=5%', 'Query + K=2%', 'Query', 'K=2%']
    """
    both = [f"{QUERY} + K={share:.3g}%" for share in _per_cent(shares)]
    return [NAIVE, DESCRIBE, *both, QUERY, *(f"K={share:.3g}%" for share in _per_cent(image_shares))]


def naive(vlm: HookedVLM, image: Any, questions: Sequence[str], max_new_tokens: int, **written: Any) -> list[Said]:
    """A full pass over picture and question for each question.

    Args:
        vlm: who answers.
        image: the picture.
        questions: all of one picture.
        max_new_tokens: of an answer.
        written: how prompts are written, `template` and `pad_to_square`; see `HookedVLM.prepare`.
    """
    inputs = vlm.prepare([image] * len(questions), list(questions), **written)
    return _said(NAIVE, vlm.generate(inputs, max_new_tokens=max_new_tokens).texts, inputs, 0)


def from_contexts(
    read: ReadPrompt,
    questions: Sequence[str],
    shares: Sequence[float],
    image_shares: Sequence[float],
    max_new_tokens: int,
    keeps_bos: bool,
) -> list[Said]:
    """What contexts that are cut from one description answer.

    Args:
        read: the picture, described once.
        questions: all of one picture.
        shares: of the image tokens, kept beside the prompt's text.
        image_shares: of the image tokens, kept alone.
        max_new_tokens: of an answer.
        keeps_bos: whether image tokens alone keep the first token of the sequence.
    """
    _, _, *names = method_names(shares, image_shares)
    contexts: list[CompressedContext] = [
        *(read.compressed(share) for share in shares),
        read.compressed(0.0, "query"),
        *(read.compressed(share, "image", keeps_bos=keeps_bos) for share in image_shares),
    ]
    found = []
    for name, context in zip(names, contexts, strict=True):
        answered = context.ask(questions, max_new_tokens=max_new_tokens)
        found += _said(name, answered.texts, answered.inputs, context.n_kept)
    return found


def described_to(language_model: LanguageModel, description: str, questions: Sequence[str], prompt: str) -> list[Said]:
    """What a language model answers that reads the description and sees no picture.

    Args:
        language_model: who answers.
        description: of the picture.
        questions: all of one picture.
        prompt: with `{description}` and `{question}`.
    """
    asked = [prompt.replace("{description}", description).replace("{question}", one) for one in questions]
    return [Said(DESCRIBE, text, 0, n_tokens) for text, n_tokens in language_model.answers(asked)]


def _said(method: str, texts: Sequence[str], inputs: Inputs, n_held: int) -> list[Said]:
    n_new = inputs.attention_mask.sum(dim=1).tolist()
    return [Said(method, text, n_held, int(n)) for text, n in zip(texts, n_new, strict=True)]


def _per_cent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]

"""Question turns as token ids, cut into what is given and what is to be answered."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int16
from transformers import PreTrainedTokenizerFast

from vlm_lens.demo.text import Turn
from vlm_lens.demo.tokenizer import IMAGE

USER, ASSISTANT = "USER:", "ASSISTANT:"


@dataclass(frozen=True, eq=False)
class EncodedTurn:
    """One turn, from the line break behind the picture to `</s>`.

    Attributes:
        ids: Token ids.
        n_given: How many of them are the question, the role marker and the answer's prefix; the rest is the answer.
        task: The turn's task.
    """

    ids: Int16[np.ndarray, " pos"]
    n_given: int
    task: str


def prompt_of(question: str, answer_prefix: str = "", *, has_image: bool = True) -> str:
    """The prompt as LLaVA-1.5 writes it, up to where the answer begins."""
    start = f"{USER} {IMAGE}\n" if has_image else f"{USER} "
    prompt = f"{start}{question} {ASSISTANT}"
    return f"{prompt} {answer_prefix}" if answer_prefix else prompt


class TurnEncoder:
    """Encodes turns behind one prefix, which all turns of a picture share.

    Args:
        tokenizer: The demo tokenizer.
        has_image: Whether a picture stands before the question; it counts as one token here.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, has_image: bool = True) -> None:
        self.tokenizer = tokenizer
        self.has_image = has_image
        start = f"{USER} {IMAGE}" if has_image else USER
        self.prefix: list[int] = tokenizer(start)["input_ids"]
        self._encode_text = lru_cache(maxsize=200_000)(self._encode_text_anew)

    def __call__(self, turn: Turn) -> EncodedTurn:
        """The turn's token ids, the answer closed with `</s>`."""
        return self._encode_text(turn.question, turn.answer_prefix, turn.answer, turn.task)

    def _encode_text_anew(self, question: str, answer_prefix: str, answer: str, task: str) -> EncodedTurn:
        prompt = prompt_of(question, answer_prefix, has_image=self.has_image)
        given = self.tokenizer(prompt)["input_ids"]
        whole = self.tokenizer(f"{prompt} {answer}")["input_ids"] + [self.tokenizer.eos_token_id]
        n_prefix = len(self.prefix)
        assert given[:n_prefix] == self.prefix and whole[: len(given)] == given
        ids = np.array(whole[n_prefix:], dtype=np.int16)
        return EncodedTurn(ids, len(given) - n_prefix, task)

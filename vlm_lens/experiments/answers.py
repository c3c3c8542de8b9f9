"""The token that an answer begins with, what the tokenizer made of it, and whether a model says it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.experiments.options import Options, option
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.metrics.first_token import begins_answer


@dataclass(frozen=True)
class Beginning:
    """How a word begins behind a text.

    Attributes:
        token: the id of its first piece.
        pieces: all of them, as text.
    """

    token: int
    pieces: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the word is one piece."""
        return len(self.pieces) == 1


def beginning_of(vlm: HookedVLM, word: str, behind: str = "It is a") -> Beginning:
    """The tokens that a word adds behind a text and a space, or behind a text that ends with a space or line break.

    Raises:
        InputError: the first of them is white space alone, which begins any word.

    Example:
        >>> from vlm_lens import HookedVLM
        >>> beginning_of(HookedVLM.demo(), "cat").pieces
        (' cat',)
    """
    before = vlm.to_tokens(behind)[0].tolist()
    space = "" if behind[-1:].isspace() else " "
    both = vlm.to_tokens(f"{behind}{space}{word}")[0].tolist()
    is_continued = both[: len(before)] == before
    added = both[len(before) :] if is_continued else vlm.to_tokens(f"{space}{word}", False)[0].tolist()
    pieces = tuple(vlm.to_str_tokens(added))
    if not pieces[0].strip():
        advice = "The tokenizer splits it; leave such questions out, or take a model whose vocabulary has the word."
        raise InputError(f"Answer {word!r} behind {behind!r}", "a first piece with letters", list(pieces), advice)
    return Beginning(added[0], pieces)


@dataclass(frozen=True)
class AnsweredOptions(Options):
    """What can be chosen where the model is asked for an object and its next token is read."""

    task: str = option("", "which of the data's questions are asked; '' for any whose answer is an object")
    token_rule: str = option(
        "words",
        "how the answer's first token is right: 'words' for its first word or piece, 'prefix' for any token that this "
        "piece begins with",
        among=("words", "prefix"),
        paper="prefix",
        quirk="The answer's first piece must begin with the stripped arg-max token: an empty token, or a single "
        "letter, counts as right. By default the token must be the answer's first word, in either number, or exactly "
        "that piece.",
    )


@dataclass(frozen=True)
class Said:
    """What a model says of an answer.

    Attributes:
        is_right: whether its likeliest token begins the answer.
        probability: of the answer's first token.
        token: the likeliest token, as text.
    """

    is_right: bool
    probability: float
    token: str


def said_of(vlm: HookedVLM, logits: Float[Tensor, " d_vocab"], word: str, answer: Beginning, rule: str) -> Said:
    """Whether the likeliest token begins an answer, and how likely the answer's first piece is.

    Args:
        vlm: whose logits these are.
        logits: at the position that the answer follows.
        word: the answer: "cat".
        answer: how the tokenizer begins it there.
        rule: "words" or "prefix", see `begins_answer`.

    Raises:
        InputError: another rule.

    Example:
        >>> import torch
        >>> vlm = HookedVLM.demo()
        >>> says_c = torch.zeros(vlm.cfg.d_vocab).index_fill(0, torch.tensor([vlm.to_single_token("c")]), 9.0)
        >>> cat = beginning_of(vlm, "cat")
        >>> [said_of(vlm, says_c, "cat", cat, rule).is_right for rule in ("words", "prefix")]
        [False, True]
    """
    logits = logits.double()
    top, probability = int(logits.argmax()), float(logits.softmax(-1)[answer.token])
    token = vlm.to_single_str_token(top)
    is_right = begins_answer(token, word, answer.pieces[0], rule)
    return Said(is_right, probability, token)

"""The token that an answer begins with, what the tokenizer made of it, and whether a model says it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vlm_lens.hooked_vlm import HookedVLM


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
    return Beginning(added[0], tuple(vlm.to_str_tokens(added)))


@dataclass(frozen=True)
class Said:
    """What a model says of an answer.

    Attributes:
        is_right: whether its likeliest token is the answer's.
        probability: of the answer's first token.
        token: the likeliest token, as text.
    """

    is_right: bool
    probability: float
    token: str


def said_of(vlm: HookedVLM, logits: Float[Tensor, " d_vocab"], answer: Beginning, accepts_prefixes: bool) -> Said:
    """Whether the likeliest token is the answer's first piece, and how likely that piece is.

    Args:
        vlm: whose logits these are.
        logits: at the position that the answer follows.
        answer: the answer.
        accepts_prefixes: count any token that the first piece begins with, spaces aside, an empty one too: the scoring
            in the code of Neo et al. 2024.

    Example:
        >>> import torch
        >>> vlm = HookedVLM.demo()
        >>> says_c = torch.zeros(vlm.cfg.d_vocab).index_fill(0, torch.tensor([vlm.to_single_token("c")]), 9.0)
        >>> [said_of(vlm, says_c, beginning_of(vlm, "cat"), accepts_prefixes).is_right for accepts_prefixes in (0, 1)]
        [False, True]
    """
    logits = logits.double()
    top, probability = int(logits.argmax()), float(logits.softmax(-1)[answer.token])
    told = vlm.to_single_str_token(top)
    if accepts_prefixes:
        return Said(answer.pieces[0].strip().startswith(told.strip()), probability, told)
    return Said(top == answer.token, probability, told)

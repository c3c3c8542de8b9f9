"""The token that an answer begins with, and what the tokenizer made of it."""

from dataclasses import dataclass

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
    """The tokens that a word adds behind a text and a space.

    Example:
        >>> from vlm_lens import HookedVLM
        >>> beginning_of(HookedVLM.demo(), "cat").pieces
        (' cat',)
    """
    before = vlm.to_tokens(behind)[0].tolist()
    both = vlm.to_tokens(f"{behind} {word}")[0].tolist()
    added = both[len(before) :] if both[: len(before)] == before else vlm.to_tokens(f" {word}", False)[0].tolist()
    return Beginning(added[0], tuple(vlm.to_str_tokens(added)))

"""The tokens that are the name of an object."""

from dataclasses import dataclass
from typing import Any

from vlm_lens.data.labels import aliases_of
from vlm_lens.errors import InputError

MARKS = ("▁", "Ġ")
"""How vocabularies write the space before a word."""


@dataclass(frozen=True)
class NameTokens:
    """The tokens that are a name.

    Attributes:
        ids: of the tokens.
        pieces: what the tokenizer makes of a name that is no single token; () of one that is.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]


def name_tokens(tokenizer: Any, name: str, match: str) -> NameTokens:
    """The tokens of a name.

    Args:
        tokenizer: of the model.
        name: "cat".
        match: "aliases": every form of it that is one token, or the first piece of a name that has none; "first piece":
            that of the name as it stands inside of a sentence, however it is split.

    Raises:
        InputError: another match.
    """
    found = aliases_of(name, tokenizer)
    if match == "aliases":
        pieces = () if found.is_whole else next(iter(found.split.values()))
        return NameTokens(found.tokens_or_stand_in, tuple(pieces))
    if match == "first piece":
        behind = tokenizer.tokenize(f"a {name}")[len(tokenizer.tokenize("a")) :]
        told = tuple(piece for piece in behind if piece not in MARKS)  # a mark that stands alone says nothing
        return NameTokens(tuple(tokenizer.convert_tokens_to_ids(told[:1])), told if len(told) > 1 else ())
    raise InputError("Option 'match'", "'aliases' or 'first piece'", repr(match))

"""The tokens that stand for a label, and the texts that a tokenizer splits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from vlm_lens.data.labels.forms import VOCABULARIES, surface_forms
from vlm_lens.errors import InputError

NEWLINES = ("<0x0A>", "Ċ", "\n")
"""How vocabularies write a line break."""


@dataclass(frozen=True)
class Aliases:
    """What a tokenizer makes of a label.

    Attributes:
        label: "leg".
        tokens: ids of the tokens that are the label, in rising order; empty where it splits every form of it.
        forms: the id of each surface form that is one token.
        split: the pieces of each surface form that is not.
        stand_in: where no form is one token, the id of the first piece of the label inside a sentence; else None.
        stand_in_piece: that piece: "▁tor". It says less than the label does; an experiment may rather leave it out.
    """

    label: str
    tokens: tuple[int, ...]
    forms: Mapping[str, int]
    split: Mapping[str, tuple[str, ...]]
    stand_in: int | None = None
    stand_in_piece: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether at least one token is the label."""
        return bool(self.tokens)

    @property
    def tokens_or_stand_in(self) -> tuple[int, ...]:
        """The tokens; where there are none, that of the first piece."""
        return self.tokens if self.stand_in is None else (self.stand_in,)


def aliases_of(label: str, tokenizer: Any, vocabulary: str | None = None, capitals: bool = True) -> Aliases:
    """The tokens of a label: each is one surface form of it, whole.

    Args:
        label: "leg".
        tokenizer: of transformers.
        vocabulary: which forms are looked for, one of `VOCABULARIES`; None for the first that marks words as the
            tokenizer does.
        capitals: whether "Leg" counts; see `surface_forms`.

    Raises:
        InputError: an unknown vocabulary, or a tokenizer that marks words in no known way.

    Source: the part paper, section 3 (rank) and footnote 3.
    """
    mark = _mark_of(tokenizer)
    name = vocabulary or next(name for name, known in VOCABULARIES.items() if known.mark == mark)
    forms: dict[str, int] = {}
    split: dict[str, tuple[str, ...]] = {}
    for form in surface_forms(label, name, capitals):
        token = _token_of(tokenizer, _as_piece(form, mark))
        if token is None:
            split[form] = _pieces(tokenizer, form)
        else:
            forms[form] = token
    tokens = tuple(sorted(set(forms.values())))
    if tokens:
        return Aliases(label, tokens, MappingProxyType(forms), MappingProxyType(split))
    pieces = next(iter(split.values()))
    first = next((piece for piece in pieces if piece != mark), pieces[0])  # a mark that stands alone says nothing
    stand_in = int(tokenizer.convert_tokens_to_ids(first))
    return Aliases(label, (), MappingProxyType({}), MappingProxyType(split), stand_in, first)


def alias_table(
    labels: Iterable[str], tokenizer: Any, vocabulary: str | None = None, capitals: bool = True
) -> pd.DataFrame:
    """What a tokenizer makes of labels: a row for each surface form.

    The columns are `label`; `form`, the text, a space in front where one stood before; `role`, "alias" for a form that
    is one token, "split" for another, "stand-in" for the first piece of a label that has no alias; `token`, the id,
    missing where it is split; `pieces`, as the vocabulary writes them, joined by spaces.
    """
    rows: list[dict[str, Any]] = []
    for label in labels:
        found = aliases_of(label, tokenizer, vocabulary, capitals)
        for form, token in found.forms.items():
            piece = str(tokenizer.convert_ids_to_tokens(token))
            rows.append(dict(label=label, form=form, role="alias", token=token, pieces=piece))
        for form, pieces in found.split.items():
            rows.append(dict(label=label, form=form, role="split", token=None, pieces=" ".join(pieces)))
        if found.stand_in is not None:
            form, piece = next(iter(found.split)), found.stand_in_piece
            rows.append(dict(label=label, form=form, role="stand-in", token=found.stand_in, pieces=piece))
    return pd.DataFrame(rows, columns=["label", "form", "role", "token", "pieces"]).astype({"token": "Int64"})


def _mark_of(tokenizer: Any) -> str:
    """How the tokenizer tells where words begin, or end: seen in what it makes of two of them."""
    pieces = tokenizer.tokenize("a b")
    for known in VOCABULARIES.values():
        if any(known.mark in piece for piece in pieces):
            return known.mark
    marks = ", ".join(dict.fromkeys(repr(known.mark) for known in VOCABULARIES.values()))
    raise InputError("Tokenizer for aliases", f"words marked by one of {marks}", f"'a b' as {pieces}")


def _as_piece(form: str, mark: str) -> str:
    """A surface form as the vocabulary would write it in one piece."""
    return f"{form}{mark}" if mark == "</w>" else form.replace(" ", mark)


def _token_of(tokenizer: Any, piece: str) -> int | None:
    token = tokenizer.convert_tokens_to_ids(piece)
    return None if token is None or token == tokenizer.unk_token_id else int(token)


def _pieces(tokenizer: Any, form: str) -> tuple[str, ...]:
    """A form's pieces behind a line break, where no tokenizer puts a space of its own before it."""
    pieces = tokenizer.tokenize(f"\n{form}")
    line_breaks = [place for place, piece in enumerate(pieces) if piece in NEWLINES]
    return tuple(pieces[line_breaks[-1] + 1 :] if line_breaks else tokenizer.tokenize(form))

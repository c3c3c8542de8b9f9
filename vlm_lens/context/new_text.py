"""New text after a prompt whose picture is gone: questions as tokens, without what opens a conversation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs
from vlm_lens.inputs.prepare import pad_token_id
from vlm_lens.inputs.processors import image_marker
from vlm_lens.inputs.rows import TokenRow, tokenize
from vlm_lens.inputs.templates import (
    TEMPLATES,
    Piece,
    has_chat_template,
    has_role_markers,
    pieces_of_chat,
    pieces_of_literal,
    pieces_of_template,
)
from vlm_lens.layout import TokenLayout


def question_pieces(processor: Any, question: str, template: str | None = None) -> list[Piece]:
    """A question and what stands behind it in a template, and nothing of what stands before: `{q} ASSISTANT:`.

    Args:
        processor: the checkpoint's.
        question: with role markers in it, it is taken as it stands.
        template: a name of `TEMPLATES`, "chat" or "literal"; None for the checkpoint's own, or "llava" without one.

    Raises:
        InputError: a template that does not exist, an empty question, or one with an image marker.
    """
    marker = _checked_marker(processor, question)
    if template is None:
        template = "literal" if has_role_markers(question) else "chat" if has_chat_template(processor) else "llava"
    if template == "literal":
        return pieces_of_literal(question, marker)
    if template == "chat":
        pieces = pieces_of_chat(processor, question, 0)
    else:
        pieces = pieces_of_template(template, question, 0, marker)
    first = next(place for place, piece in enumerate(pieces) if piece.role == "question")
    n_before = len(TEMPLATES[template].before) if template in TEMPLATES else first
    return pieces[n_before:]


def literal_pieces(processor: Any, text: str) -> list[Piece]:
    """Text taken as it stands.

    Raises:
        InputError: empty, or with an image marker.
    """
    return pieces_of_literal(text, _checked_marker(processor, text))


def new_inputs(processor: Any, rows: Sequence[Sequence[Piece]], image_token_id: int) -> Inputs:
    """Rows of new text as tokens, padded on the left, without a token for the beginning of a sequence.

    Raises:
        InputError: no row, or a row without a token.
    """
    tokenizer = processor.tokenizer
    written = [_without_bos(tokenize(tokenizer, row, (), image_token_id)) for row in rows]
    if not written or not all(row.token_ids for row in written):
        raise InputError("New text in a compressed context", "at least one token in each row", "none")
    longest = max(len(row.token_ids) for row in written)
    padded = [row.padded(longest, pad_token_id(tokenizer)) for row in written]
    layout = TokenLayout.from_roles([row.roles for row in padded], None, [row.strings for row in padded])
    return Inputs(torch.tensor([row.token_ids for row in padded]), layout.mask("all").long(), None, layout)


def token_inputs(tokens: Tensor, d_vocab: int) -> Inputs:
    """Tokens that are given as they are, none of them padding.

    Raises:
        InputError: no integers `[pos]` or `[batch pos]`, none at all, or one outside the vocabulary.
    """
    what, is_float = "New text in a compressed context", tokens.is_floating_point() or tokens.is_complex()
    if is_float or tokens.dtype == torch.bool or tokens.ndim not in (1, 2) or not tokens.numel():
        raise InputError(what, "integers [pos] or [batch pos]", f"{tokens.dtype} {list(tokens.shape)}")
    if bool(((tokens < 0) | (tokens >= d_vocab)).any()):
        rule, got = f"ids from 0 to {d_vocab - 1}", f"from {int(tokens.min())} to {int(tokens.max())}"
        raise InputError(what, rule, got)
    tokens = tokens.long() if tokens.ndim == 2 else tokens.long()[None]
    layout = TokenLayout.from_roles([["question"] * tokens.shape[1] for _ in tokens])
    return Inputs(tokens, torch.ones_like(tokens), None, layout)


def all_strings(texts: Sequence[Any]) -> bool:
    """Whether several texts are texts."""
    return all(isinstance(one, str) for one in texts)


def _checked_marker(processor: Any, text: str) -> str:
    """The image marker, which new text must not have."""
    marker = image_marker(processor)
    if marker in text or not text.strip():
        advice = "Compress that picture too, or ask the model itself." if marker in text else ""
        raise InputError("New text in a compressed context", f"words without {marker}", repr(text), advice)
    return marker


def _without_bos(row: TokenRow) -> TokenRow:
    n_bos = next((place for place, role in enumerate(row.roles) if role != "bos"), len(row.roles))
    return TokenRow(row.token_ids[n_bos:], row.roles[n_bos:], row.strings[n_bos:])

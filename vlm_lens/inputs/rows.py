"""One row of a batch: its prompt as tokens, each with its role and text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from vlm_lens.errors import InputError
from vlm_lens.inputs.pieces import image_piece_strings
from vlm_lens.inputs.processors import Tokenizer
from vlm_lens.inputs.templates import Piece
from vlm_lens.layout.roles import Role


@dataclass(frozen=True)
class TokenRow:
    """The tokens of one prompt, before padding."""

    token_ids: tuple[int, ...]
    roles: tuple[Role, ...]
    strings: tuple[str, ...]

    def padded(self, length: int, pad_token_id: int) -> "TokenRow":
        """The row with padding before it."""
        n_pad = length - len(self.token_ids)
        pad: Role = "pad"
        return TokenRow(
            (pad_token_id,) * n_pad + self.token_ids,
            (*[pad] * n_pad, *self.roles),
            ("",) * n_pad + self.strings,
        )


def tokenize(
    tokenizer: Tokenizer, pieces: Sequence[Piece], n_positions: Sequence[int], image_token_id: int
) -> TokenRow:
    """The tokens of a prompt, each with the role of the piece that it spells.

    Args:
        tokenizer: a fast one: roles come from its character offsets.
        pieces: the prompt, with one piece per image.
        n_positions: how many positions each image takes.
        image_token_id: the token that an image marker becomes.

    Raises:
        InputError: a slow tokenizer, or one for which the image marker is no token of its own.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            "Roles of tokens cannot be read",
            "a fast tokenizer, which gives character offsets",
            type(tokenizer).__name__,
            "Load it with AutoTokenizer.",
        )
    counts = iter(n_positions)
    spelled = [Piece(piece.text * next(counts), "image") if piece.role == "image" else piece for piece in pieces]
    text = "".join(piece.text for piece in spelled)
    bos = _token_text(tokenizer, tokenizer.bos_token_id)
    encoded = tokenizer(
        text,
        # A template that writes the BOS token itself would otherwise get it twice.
        add_special_tokens=not (bos and text.startswith(bos)),
        return_offsets_mapping=True,
    )
    token_ids = tuple(int(token) for token in encoded["input_ids"])
    offsets = [(int(start), int(stop)) for start, stop in encoded["offset_mapping"]]
    n_image_tokens = token_ids.count(image_token_id)
    if n_image_tokens != sum(n_positions):
        raise InputError(
            "Image marker is not one token",
            f"{sum(n_positions)} tokens of id {image_token_id}",
            n_image_tokens,
            "The tokenizer must hold the image marker as a special token.",
        )
    roles = roles_at(spelled, offsets)
    for position, token in enumerate(token_ids):
        if token == image_token_id:
            roles[position] = "image"
        elif token == tokenizer.bos_token_id:
            roles[position] = "bos"
    strings = image_piece_strings(tokenizer, token_ids, image_token_id)
    return TokenRow(token_ids, tuple(roles), tuple(strings))


def roles_at(pieces: Sequence[Piece], offsets: Sequence[tuple[int, int]]) -> list[Role]:
    """The role of each token: that of the piece which holds most of its visible characters.

    A token without characters of its own (a space whose place was trimmed) belongs to the piece
    before it; one before all text to a marker (`role`).
    """
    text = "".join(piece.text for piece in pieces)
    role_of_character: list[Role] = [piece.role for piece in pieces for _ in piece.text]
    roles: list[Role] = []
    for start, stop in offsets:
        covered = range(start, stop) or range(max(0, stop - 1), stop)
        visible = [k for k in covered if not text[k].isspace()] or list(covered)
        votes: dict[Role, int] = {}
        for k in visible:
            votes[role_of_character[k]] = votes.get(role_of_character[k], 0) + 1
        roles.append(max(votes, key=lambda role: votes[role]) if votes else "role")
    return roles


def offsets_of(strings: Sequence[str]) -> list[tuple[int, int]]:
    """Where each of consecutive texts lies in their concatenation."""
    stops = list(accumulate(len(text) for text in strings))
    return [(stop - len(text), stop) for text, stop in zip(strings, stops, strict=True)]


def _token_text(tokenizer: Tokenizer, token_id: int | None) -> str:
    return "" if token_id is None else str(tokenizer.convert_ids_to_tokens(token_id))

"""Between text and token ids, with TransformerLens's verbs."""

import re
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs.prepare import pad_token_id
from vlm_lens.model.config import TransformerConfig


class Vocabulary:
    """The text verbs of a tower that has a tokenizer."""

    cfg: TransformerConfig
    tokenizer: Any
    unembed: Any
    ln_final: Any

    def _require_tokenizer(self) -> Any:
        if self.tokenizer is None:
            advice = "Give one: from_hf(model, tokenizer)."
            raise InputError("Text cannot be turned into tokens", "a tokenizer", "a model without one", advice)
        return self.tokenizer

    def to_tokens(
        self, text: str | list[str], prepend_bos: bool | None = None, truncate: bool = False
    ) -> Int[Tensor, "batch pos"]:
        """Token ids of one or more texts, left-padded to one length.

        Args:
            text: one text or several.
            prepend_bos: whether a BOS token comes first; None does what the checkpoint's tokenizer does.
            truncate: whether to keep only as many positions, from the first on, as the context has.
        """
        tokens, _ = self.padded_tokens(text, prepend_bos)
        return tokens[:, : self.cfg.n_ctx] if truncate else tokens

    def padded_tokens(
        self, text: str | list[str], prepend_bos: bool | None = None
    ) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
        """Token ids of one or more texts, left-padded to one length, and where they are no padding."""
        tokenizer = self._require_tokenizer()
        rows = [self._row(tokenizer, one, prepend_bos) for one in ([text] if isinstance(text, str) else text)]
        longest = max(map(len, rows))
        padded = [[self.pad_token_id] * (longest - len(row)) + row for row in rows]
        is_token = [[False] * (longest - len(row)) + [True] * len(row) for row in rows]
        device = self.cfg.device
        return torch.tensor(padded, dtype=torch.long, device=device), torch.tensor(is_token, device=device)

    def _row(self, tokenizer: Any, text: str, prepend_bos: bool | None) -> list[int]:
        row = list(tokenizer(text)["input_ids"])
        bos = tokenizer.bos_token_id
        starts = bool(row) and bos is not None and row[0] == bos
        if prepend_bos is True and not starts and bos is not None:
            return [bos, *row]
        return row[1:] if prepend_bos is False and starts else row

    @property
    def pad_token_id(self) -> int:
        """The id that fills short rows; see `inputs.prepare.pad_token_id`."""
        return 0 if self.tokenizer is None else pad_token_id(self.tokenizer)

    def to_string(self, tokens: Int[Tensor, "*batch pos"] | list[int]) -> str | list[str]:
        """The text of one row of tokens, or of each of several."""
        tokenizer = self._require_tokenizer()
        ids = torch.as_tensor(tokens)
        if ids.ndim == 2:
            return [tokenizer.decode(row.tolist()) for row in ids]
        return tokenizer.decode(ids.reshape(-1).tolist())

    def to_str_tokens(self, text: str | Tensor | list[int], prepend_bos: bool | None = None) -> list[str]:
        """Each token of one text, or of one row of ids, as a string (a leading space shows as a space)."""
        tokenizer = self._require_tokenizer()
        ids = self.to_tokens(text, prepend_bos)[0] if isinstance(text, str) else torch.as_tensor(text).reshape(-1)
        return [_spelled(tokenizer, token) for token in ids.tolist()]

    def to_single_token(self, text: str) -> int:
        """The id of a text that is one token.

        `" cat"`, with a leading space, is the token inside a sentence; `"cat"` the one inside a word, if there is one.

        Raises:
            InputError: where the tokenizer splits the text, with the pieces.
        """
        tokenizer = self._require_tokenizer()
        for piece in (text, text.replace(" ", "\u2581"), text.replace(" ", "\u0120")):
            known = tokenizer.convert_tokens_to_ids(piece)
            if known is not None and known != tokenizer.unk_token_id:
                return int(known)
        pieces = tokenizer.tokenize(text)
        if len(pieces) == 1:
            return int(tokenizer.convert_tokens_to_ids(pieces[0]))
        raise InputError(f"{text!r} is not a single token", "one piece", f"{len(pieces)}: {pieces}", "Choose one.")

    def to_single_str_token(self, token: int) -> str:
        """One token id as a string."""
        return self.to_str_tokens([token])[0]

    def tokens_to_residual_directions(self, tokens: str | int | Int[Tensor, "..."]) -> Float[Tensor, "... d_model"]:
        """For each token the direction of the normalized stream that raises its logit.

        The final norm's weight is in it, so that `cache.logit_attrs`, which divides by the norm's scale alone, sums to
        the logit: what TransformerLens has after folding that weight into the unembedding.
        """
        ids = torch.as_tensor(self.to_single_token(tokens) if isinstance(tokens, str) else tokens)
        directions = self.unembed.W_U.T[ids.to(self.unembed.W_U.device)]
        return directions * self.ln_final.w.to(directions.device)


def _spelled(tokenizer: Any, token: int) -> str:
    """One token as text, a leading space kept, of SentencePiece-like and of byte-level vocabularies."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if byte := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):
        return bytes.fromhex(byte[1]).decode("utf-8", errors="replace")
    if "\u2581" in piece:
        return piece.replace("\u2581", " ")
    if token in tokenizer.all_special_ids:
        return piece
    return tokenizer.decode([token], clean_up_tokenization_spaces=False)

"""CLIP's vocabulary as sentences, embedded once for a run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.hooked_clip import HookedCLIP

MARKS = ("▁", "Ġ")
"""How a piece is written that begins a word; CLIP's own vocabulary marks where one ends."""
END = "</w>"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that are compared with a picture.

    Attributes:
        words: the text of each candidate, for the sentence.
        place_of: for a token's id its candidate.
    """

    words: tuple[str, ...]
    place_of: dict[int, int]


def vocabulary_of(tokenizer: Any, candidates: str, distinct: bool) -> Vocabulary:
    """The candidates of a tokenizer.

    Args:
        tokenizer: CLIP's.
        candidates: "tokens", or "words" for pieces of letters that are marked as the beginning or end of a word.
        distinct: whether tokens of one text are one candidate.

    Raises:
        InputError: another choice, or nothing left.
    """
    if candidates not in ("tokens", "words"):
        raise InputError("Option 'candidates'", "'tokens' or 'words'", repr(candidates))
    words: list[str] = []
    place_of: dict[int, int] = {}
    known: dict[str, int] = {}
    special = set(tokenizer.all_special_ids)
    for piece, token in sorted(tokenizer.get_vocab().items(), key=lambda one: one[1]):
        text = tokenizer.decode([token]).strip()
        if token in special or not text or (candidates == "words" and not _is_word(piece, text)):
            continue
        key = text if distinct else piece
        if key not in known:
            known[key] = len(words)
            words.append(text)
        place_of[token] = known[key]
    if not words:
        raise InputError("Candidates of CLIP's vocabulary", "at least one", "none", "Take candidates='tokens'.")
    return Vocabulary(tuple(words), place_of)


def _is_word(piece: str, text: str) -> bool:
    return text.isalpha() and (piece.startswith(MARKS) or piece.endswith(END))


def write_vectors(clip: HookedCLIP, vocabulary: Vocabulary, template: str, file: Path) -> None:
    """The vectors of all sentences, written once and in one step."""
    if file.exists():
        return
    names = [str(place) for place in range(len(vocabulary.words))]
    vectors = clip.candidates(sentences(vocabulary.words, template), names).vectors
    beside = file.with_name(f".{os.getpid()}.{file.name}")
    np.save(beside, vectors.float().cpu().numpy())
    os.replace(beside, file)


def sentences(words: Sequence[str], template: str) -> list[str]:
    """The sentence of each word.

    Raises:
        InputError: a template without a place for the word.
    """
    if "{}" not in template:
        raise InputError("Option 'template'", "a sentence with {} in it", repr(template))
    return [template.replace("{}", word) for word in words]


def read_vectors(clip: HookedCLIP, file: Path) -> Float[Tensor, "candidate d_embed"]:
    """The vectors, where the model is."""
    return torch.from_numpy(np.load(file)).to(clip.logit_scale.device)

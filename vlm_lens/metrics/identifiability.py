"""Identifiability: how near the top of the vocabulary a label stands that a state is read as."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.errors import InputError

MEBIBYTE = 2**20
COPIES = 3
"""Tensors as large as the logits of the places at hand: in fp32, compared, and what the kernels ask for."""


def label_ranks(
    logits: Float[Tensor, "*place d_vocab"],
    labels: Sequence[Sequence[int]],
    *,
    merged: bool = False,
    memory: int = 256 * MEBIBYTE,
) -> Int[Tensor, "*place label"]:
    """The rank of each label once the probabilities of its aliases are summed under one token; 1 is the best.

    Ties share the better rank: it is 1 + the number of tokens with a strictly larger probability. So is the rank of
    `LogitLens(targets=...)`, which needs no logits of all layers at once.

    The paper sums "all label aliases under a single token" and leaves open whether, while one label is ranked, the
    aliases of the others are summed too. By default they are not, so that the rank of "leg" is the same whichever
    other labels are asked for. The two differ by no more than the aliases that stand above the label.

    Args:
        logits: or log-probabilities, on any device.
        labels: for each label the token ids of its aliases.
        merged: whether the aliases of the other labels stand as one token each. No alias may then be of two labels.
        memory: bytes to work with; at least one place is worked on at a time.

    Raises:
        InputError: a label without aliases or with one twice, ids outside the vocabulary, aliases of two labels where
            they are merged.

    Source: "Object part identification", section 3, equation 2.

    Example:
        >>> label_ranks(torch.tensor([0.4, 0.3, 0.2, 0.1]).log(), [[2, 3], [3]]).tolist()
        [2, 4]
    """
    d_vocab = logits.shape[-1]
    _check(labels, d_vocab, merged)
    n_at_once = max(1, memory // (4 * COPIES * d_vocab))
    members = [torch.tensor(list(label), dtype=torch.long, device=logits.device) for label in labels]
    places = logits.detach().reshape(-1, d_vocab)
    parts = [_ranks(part.float(), members, merged) for part in places.split(n_at_once)] if len(places) else []
    ranks = torch.cat(parts) if parts else torch.empty((0, len(labels)), dtype=torch.long, device=logits.device)
    return ranks.reshape(*logits.shape[:-1], len(labels))


def identifiability(ranks: Int[np.ndarray, "*place"], d_vocab: int) -> Float[np.ndarray, "*place"]:
    """The score of a patch, `1 - ln(rank) / ln(d_vocab)`: 1 for the first rank, 0 for the last.

    Args:
        ranks: from 1; with 0 for the best, the formula of the paper has no value.
        d_vocab: how many tokens there are, aliases counted one by one.

    Raises:
        InputError: a rank below 1 or above d_vocab.

    Example:
        >>> identifiability(np.array([1, 10, 100]), 100).tolist()
        [1.0, 0.5, 0.0]
    """
    ranks = np.asarray(ranks)
    if ranks.size and not (ranks.min() >= 1 and ranks.max() <= d_vocab and d_vocab > 1):
        raise InputError("Identifiability", f"ranks from 1 to {d_vocab}", f"{ranks.min()} to {ranks.max()}")
    return 1 - np.log(ranks) / np.log(d_vocab)


def region_score(
    scores: Float[np.ndarray, "*state patch_row patch_col"], region: Bool[np.ndarray, "region_row region_col"]
) -> Float[np.ndarray, "*state"]:
    """The score of a region: the largest of its patches. A maximum grows with the number of patches: see `null`.

    Raises:
        InputError: a region without patches or of another grid, or a patch of it that was not read (NaN).
    """
    if region.shape != scores.shape[-2:]:
        raise InputError("Region", f"the grid of the scores, {scores.shape[-2:]}", region.shape)
    if not region.any():
        raise InputError("Region", "at least one patch", "none")
    found: Float[np.ndarray, "*state"] = np.asarray(scores[..., region].max(axis=-1))
    if np.isnan(found).any():
        raise InputError("Region", "patches that were read", "NaN", "Read them with LogitLens(positions='image').")
    return found


def _ranks(logits: Float[Tensor, "place d_vocab"], members: Sequence[Tensor], merged: bool) -> Tensor:
    """[place label], of some places."""
    sums = [logits[:, one].logsumexp(dim=-1, keepdim=True) for one in members]
    n_above = [(logits > own).sum(dim=-1, dtype=torch.int32) for own in sums]
    if merged and members:
        # Every alias was counted as a token of its own, and is not; the labels are.
        aliases, labels = logits[:, torch.cat(list(members))], torch.cat(sums, dim=-1)
        n_above = [
            found - (aliases > own).sum(dim=-1, dtype=torch.int32) + (labels > own).sum(dim=-1, dtype=torch.int32)
            for found, own in zip(n_above, sums, strict=True)
        ]
    return 1 + torch.stack(n_above, dim=-1).long() if members else logits.new_empty((len(logits), 0)).long()


def _check(labels: Sequence[Sequence[int]], d_vocab: int, merged: bool) -> None:
    for number, label in enumerate(labels):
        if not label or len(set(label)) < len(label):
            raise InputError(f"Aliases of label {number}", "at least one token id, each once", list(label))
        if not (min(label) >= 0 and max(label) < d_vocab):
            raise InputError(f"Aliases of label {number}", f"ids from 0 to {d_vocab - 1}", list(label))
    of_all = [alias for label in labels for alias in label]
    if merged and len(set(of_all)) < len(of_all):
        shared = sorted({alias for alias in of_all if of_all.count(alias) > 1})
        raise InputError("Merged labels", "no alias of two labels", shared, "Rank each by itself: merged=False.")

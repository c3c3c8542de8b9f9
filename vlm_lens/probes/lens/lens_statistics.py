"""What a lens keeps of each place: best outputs, targets, entropy; the whole distribution is seen once and goes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.probes.lens.read_out import ReadOut

VALUES_HELD = 4
"""fp32 numbers held at once for each output of a place: logits, probabilities, and what the kernels ask for."""


@dataclass(frozen=True, eq=False)
class LensStatistics:
    """What is kept of some places.

    Attributes:
        top_ids: the most probable outputs, best first.
        top_probabilities: their probabilities.
        entropy: of the whole distribution, in nats.
        target_ranks: 1 + the number of outputs outside a group that are more probable than the whole group.
        target_log_probabilities: of each group, natural logarithm.
    """

    top_ids: Int[Tensor, "place rank"]
    top_probabilities: Float[Tensor, "place rank"]
    entropy: Float[Tensor, " place"]
    target_ranks: Int[Tensor, "place target"]
    target_log_probabilities: Float[Tensor, "place target"]

    @classmethod
    def joined(cls, parts: Sequence["LensStatistics"]) -> "LensStatistics":
        """Several sets of places, one after the other."""
        return cls(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(cls)))


def lens_statistics(
    states: Float[Tensor, "place d_model"],
    read_out: ReadOut,
    top_k: int,
    groups: Sequence[tuple[int, ...]],
    memory: int,
) -> LensStatistics:
    """Reads states out and reduces them, so many places at a time as fit the memory; on the CPU afterwards.

    Args:
        states: of the residual stream.
        read_out: from a state to the outputs' logits.
        top_k: how many of the best outputs to keep.
        groups: for each target the outputs whose probabilities are summed.
        memory: bytes to work with beside the model; at least one place is worked on at a time.
    """
    n_at_once = max(1, memory // (4 * VALUES_HELD * read_out.n_outputs))
    return LensStatistics.joined(
        [_reduced(read_out.logits(chunk, memory), top_k, groups) for chunk in states.split(n_at_once)]
    )


def _reduced(logits: Float[Tensor, "place output"], top_k: int, groups: Sequence[tuple[int, ...]]) -> LensStatistics:
    """The statistics of some places. The logits are used up."""
    total = logits.logsumexp(dim=-1, keepdim=True)
    best = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    ranks, log_probabilities = [], []
    for group in groups:
        # The sum of a group is never below its largest member, so its own members never count as more probable.
        summed = logits[:, list(group)].logsumexp(dim=-1, keepdim=True)
        ranks.append(1 + (logits > summed).sum(dim=-1))
        log_probabilities.append((summed - total)[:, 0])
    best_probabilities = (best.values - total).exp()
    log = logits.sub_(total)  # in place, here and below: a large vocabulary is held as few times as possible
    entropy = -log.mul_(log.exp()).sum(dim=-1)
    empty = logits.new_empty((len(logits), 0))
    return LensStatistics(
        best.indices.cpu(),
        best_probabilities.cpu(),
        entropy.cpu(),
        (torch.stack(ranks, dim=-1) if ranks else empty.long()).cpu(),
        (torch.stack(log_probabilities, dim=-1) if ranks else empty).cpu(),
    )

"""What a lens keeps of each place: best outputs, targets, entropy; the whole distribution is seen once and goes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LensStatistics:
    """What is kept of some places, on the device where their logits were.

    Attributes:
        top_ids: the most probable outputs, best first.
        top_probabilities: their probabilities.
        entropy: of the whole distribution, in nats.
        target_ranks: 1 + the number of outputs outside a group that are more probable than the whole group; of
            merged groups, every other group counts as one output.
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
        return (
            parts[0] if len(parts) == 1 else cls(*map(torch.cat, zip(*(part._values for part in parts), strict=True)))
        )

    def split(self, n_places: Sequence[int]) -> list["LensStatistics"]:
        """So many places each, in their order."""
        values = (value.split(list(n_places)) for value in self._values)
        return [LensStatistics(*parts) for parts in zip(*values, strict=True)]

    def cpu(self) -> "LensStatistics":
        """The same on the CPU."""
        return LensStatistics(*(value.cpu() for value in self._values))

    @property
    def _values(self) -> list[Tensor]:
        return [getattr(self, one.name) for one in fields(self)]


class Reduction:
    """From logits to what is kept of them.

    Args:
        top_k: how many of the best outputs to keep.
        groups: for each target the outputs whose probabilities are summed.
        is_merged: whether the other groups stand as one output each where a group is ranked. They share no output.
    """

    def __init__(self, top_k: int, groups: Sequence[tuple[int, ...]], is_merged: bool = False) -> None:
        self.top_k, self.is_merged = top_k, is_merged
        self._n_members = [len(group) for group in groups]
        self._members = torch.tensor([output for group in groups for output in group], dtype=torch.long)

    def __call__(self, logits: Float[Tensor, "place output"]) -> LensStatistics:
        """The statistics of some places. The logits are used up."""
        best = logits.topk(min(self.top_k, logits.shape[-1]), dim=-1)
        members = self._members_of(logits)
        summed = self._summed(members)
        ranks = [1 + _n_above(logits, group) for group in summed]
        if self.is_merged:
            groups = torch.cat([logits.new_empty((len(logits), 0)), *summed], dim=-1)
            pairs = zip(ranks, summed, strict=True)
            ranks = [rank - _n_above(members, group) + _n_above(groups, group) for rank, group in pairs]
        highest = best.values[:, :1]
        shifted = logits.sub_(highest)  # in place, here and below: a large vocabulary is held as few times as possible
        probabilities = shifted.softmax(dim=-1)
        normaliser = -probabilities.gather(-1, best.indices[:, :1]).log()  # of the shifted logits, whose highest is 0
        entropy = normaliser[:, 0] - probabilities.mul_(shifted).sum(dim=-1)
        total = highest + normaliser
        empty = logits.new_empty((len(logits), 0))
        return LensStatistics(
            best.indices,
            (best.values - total).exp(),
            entropy,
            torch.cat([empty.int(), *ranks], dim=-1).long(),
            torch.cat([empty, *(group - total for group in summed)], dim=-1),
        )

    def _members_of(self, logits: Float[Tensor, "place output"]) -> Float[Tensor, "place member"]:
        """The logits of all groups' members, group by group."""
        self._members = self._members.to(logits.device)
        return logits.index_select(-1, self._members)

    def _summed(self, members: Float[Tensor, "place member"]) -> list[Float[Tensor, "place 1"]]:
        """The logit of each group: of its members' probabilities together.

        It is never below that of the largest member, so that members never count as more probable than their group.
        """
        return [group.logsumexp(dim=-1, keepdim=True) for group in members.split(self._n_members, dim=-1)]


def _n_above(logits: Float[Tensor, "place output"], group: Float[Tensor, "place 1"]) -> Int[Tensor, "place 1"]:
    """How many logits are larger than a group's."""
    # Counted in int32: to the default int64, torch on the CPU sums booleans ten times slower.
    return (logits > group).sum(dim=-1, keepdim=True, dtype=torch.int32)

"""Rows of several variants of one run, side by side in one sequence, reading the keys and values that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.model.scaled_attention import fused_attention


@dataclass(frozen=True, eq=False)
class Variant:
    """The rows of one variant within a packed sequence.

    Attributes:
        entered: where its rows stand in the packed sequence: each gives a key and a value of its own.
        asking: where those of its rows stand, among all that ask, for which a result is wanted.
        columns: which positions of the run its entered rows are, ascending.
        allowed: what each asking row may attend to, over all positions of the run.
        seen: the positions that it reads of the shared keys: those that it attends to and has not entered itself. On
            the CPU, so that nothing waits for a GPU to say how many.
        has_pattern: whether somebody stands at its scores or pattern, so that they must be written out.
    """

    entered: slice
    asking: slice
    columns: Int[Tensor, " entered_pos"]
    allowed: Bool[Tensor, "batch heads query_pos key_pos"]
    seen: Bool[Tensor, " key_pos"]
    has_pattern: bool = False

    @property
    def n_asking(self) -> int:
        """The rows for which a result is wanted."""
        return self.asking.stop - self.asking.start


@runtime_checkable
class WritesPatterns(Protocol):
    """Who shows scores and pattern of one variant to those that stand there."""

    def read_written_out(
        self, variant: Variant, q: Tensor, k: Tensor, v: Tensor
    ) -> Float[Tensor, "batch query_pos head_index d_head"]:
        """What the variant's queries read of all positions of the run, with scores and pattern written out."""


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Who may attend to whom in one layer, where the sequence is made of the rows of several variants of one run.

    All of them stand in one sequence, so that norms, linears and MLP run over all rows at once whatever their numbers.
    A variant attends to its own rows and, everywhere else, to the keys and values of the run that they all vary, which
    are neither computed nor copied for each. Variants of few rows read in one call of the fused kernel, each masked
    off from the others; one with many rows has a call to itself.

    Attributes:
        variants: in the order of their rows.
        keys: of the shared run in this layer (rotated).
        values: of the shared run in this layer.
        asking: the entered rows that ask, in order; None if all do.
        patterns: is asked for variants that have `has_pattern`.
    """

    variants: Sequence[Variant]
    keys: Float[Tensor, "batch kv_head key_pos d_head"]
    values: Float[Tensor, "batch kv_head key_pos d_head"]
    asking: Int[Tensor, " asking_pos"] | None = None
    patterns: WritesPatterns | None = None

    def read(
        self,
        q: Float[Tensor, "batch head_index asking_pos d_head"],
        k: Float[Tensor, "batch kv_head entered_pos d_head"],
        v: Float[Tensor, "batch kv_head entered_pos d_head"],
        scale: float,
    ) -> Float[Tensor, "batch asking_pos head_index d_head"]:
        """What every asking row reads."""
        read = []
        for together in self._calls():
            if together[0].has_pattern:
                assert self.patterns is not None
                one = together[0]
                own = k[:, :, one.entered], v[:, :, one.entered]
                whole = self._whole(one, self.keys, own[0]), self._whole(one, self.values, own[1])
                read.append(self.patterns.read_written_out(one, q[:, :, one.asking], *whole))
            else:
                read.append(self._fused(together, q, k, v, scale))
        return read[0] if len(read) == 1 else torch.cat(read, dim=1)

    def _calls(self) -> Iterator[list[Variant]]:
        """The variants that share a call of the kernel.

        Their own keys are masked off from each other, so that a call's work grows with the square of its rows: it is
        closed when they are half as many as the shared keys.
        """
        together: list[Variant] = []
        n_rows = 0
        for one in self.variants:
            is_alone = one.has_pattern or one.n_asking * 4 > self.keys.shape[2]
            if together and (is_alone or (n_rows + one.n_asking) * 2 > self.keys.shape[2]):
                yield together
                together, n_rows = [], 0
            if is_alone:
                yield [one]
                continue
            together.append(one)
            n_rows += one.n_asking
        if together:
            yield together

    def _fused(self, together: list[Variant], q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """What some neighbours read, in one call."""
        entered = slice(together[0].entered.start, together[-1].entered.stop)
        asking = slice(together[0].asking.start, together[-1].asking.stop)
        found = torch.stack([one.seen for one in together]).any(dim=0).nonzero().flatten()
        n_shared, n_own, columns = len(found), entered.stop - entered.start, found.to(q.device)
        own_keys, own_values = k[:, :, entered], v[:, :, entered]
        if n_shared:
            own_keys = torch.cat((_taken(self.keys, found, columns), own_keys), dim=2)
            own_values = torch.cat((_taken(self.values, found, columns), own_values), dim=2)
        n_heads = max(one.allowed.shape[1] for one in together)
        batch, n_asking = q.shape[0], asking.stop - asking.start
        mask = torch.zeros(batch, n_heads, n_asking, n_shared + n_own, dtype=torch.bool, device=q.device)
        for one in together:
            rows = mask[:, :, one.asking.start - asking.start : one.asking.stop - asking.start]
            start = n_shared + one.entered.start - entered.start
            if n_shared:
                rows[..., :n_shared] = one.allowed[..., columns] & one.seen[found].to(q.device)
            rows[..., start : start + len(one.columns)] = one.allowed[..., one.columns]
        return fused_attention(q[:, :, asking], own_keys, own_values, mask, False, scale)

    def _whole(self, one: Variant, shared: Tensor, own: Tensor) -> Tensor:
        """Keys or values of all positions of the run, in their order, with the variant's own in their places."""
        return shared.index_copy(2, one.columns, own)


def _taken(shared: Tensor, found: Int[Tensor, " taken"], columns: Int[Tensor, " taken"]) -> Tensor:
    """Some columns of the shared keys or values, given on the CPU and on their device; neighbours are a view."""
    first, n = int(found[0]), len(found)
    if int(found[-1]) - first + 1 == n:
        return shared[:, :, first : first + n]
    return shared[:, :, columns]

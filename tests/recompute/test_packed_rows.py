"""Rows of several variants read in one sequence what each of them reads by itself, written out key by key."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vlm_lens.model.packed_rows import PackedRows, Variant

BATCH, N_HEADS, D_HEAD, N_POSITIONS = 2, 4, 8, 23
SCALE = 1.0 / math.sqrt(D_HEAD)


@dataclass
class Sketch:
    """A variant: the positions that it enters, those of them that ask, and whether its heads differ."""

    entered: list[int]
    asking: list[int]
    has_heads: bool = False
    has_pattern: bool = False


SKETCHES = {
    "one row": [Sketch([22], [22])],
    "few rows of many": [Sketch([3, 7, 22], [7, 22]), Sketch([22], [22]), Sketch([20, 21, 22], [22], has_heads=True)],
    "many rows beside few": [Sketch([22], [22]), Sketch(list(range(4, 23)), list(range(9, 23))), Sketch([5, 6], [6])],
    "a pattern between": [Sketch([22], [22]), Sketch([2, 22], [22], has_pattern=True), Sketch([21], [21])],
    "everything of its own": [Sketch(list(range(23)), list(range(23))), Sketch([22], [22])],
    "keys alone": [Sketch([3, 4], []), Sketch([4, 22], [22])],
}


class WrittenOut:
    """Reads under a pattern that is written out; keeps whom it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Variant] = []

    def read_written_out(self, variant: Variant, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.asked.append(variant)
        return read_by_hand(q, k, v, variant.allowed)


def read_by_hand(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """`[batch query head d_head]`: head by head, query by query, over the keys that it may attend to."""
    read = torch.zeros(q.shape[0], q.shape[2], q.shape[1], q.shape[3])
    for row in range(q.shape[0]):
        for head in range(q.shape[1]):
            group = head * k.shape[1] // q.shape[1]
            for query in range(q.shape[2]):
                keys = allowed[row, head % allowed.shape[1], query].nonzero().flatten()
                weights = (k[row, group, keys] @ q[row, head, query] * SCALE).softmax(dim=0)
                read[row, query, head] = weights @ v[row, group, keys]
    return read


@pytest.mark.parametrize("n_kv", [4, 2, 1])
@pytest.mark.parametrize("kind", list(SKETCHES))
def test_packed_rows_read_what_each_variant_reads_alone(kind: str, n_kv: int) -> None:
    random = torch.Generator().manual_seed(0)
    shared_k, shared_v = (torch.randn(BATCH, n_kv, N_POSITIONS, D_HEAD, generator=random) for _ in range(2))
    variants, qs, ks, vs, expected, asking_rows = [], [], [], [], [], []
    n_entered = n_asking = 0
    for sketch in SKETCHES[kind]:
        columns, asking = torch.tensor(sketch.entered), torch.tensor(sketch.asking, dtype=torch.long)
        k, v = (torch.randn(BATCH, n_kv, len(columns), D_HEAD, generator=random) for _ in range(2))
        q = torch.randn(BATCH, N_HEADS, len(asking), D_HEAD, generator=random)
        n_masks = N_HEADS if sketch.has_heads else 1
        allowed = torch.rand(BATCH, n_masks, len(asking), N_POSITIONS, generator=random) < 0.6
        allowed &= torch.arange(N_POSITIONS) <= asking[:, None]
        allowed[..., torch.arange(len(asking)), asking] = True
        seen = allowed.flatten(0, 2).any(dim=0)
        seen[columns] = False
        variants.append(
            Variant(
                slice(n_entered, n_entered + len(columns)), slice(n_asking, n_asking + len(asking)), columns, allowed,
                seen, sketch.has_pattern,
            )
        )  # fmt: skip
        expected.append(
            read_by_hand(q, shared_k.index_copy(2, columns, k), shared_v.index_copy(2, columns, v), allowed)
        )
        asking_rows += [n_entered + sketch.entered.index(position) for position in sketch.asking]
        n_entered, n_asking = n_entered + len(columns), n_asking + len(asking)
        qs, ks, vs = [*qs, q], [*ks, k], [*vs, v]
    patterns = WrittenOut()
    packed = PackedRows(variants, shared_k, shared_v, torch.tensor(asking_rows), patterns)
    found = packed.read(torch.cat(qs, dim=2), torch.cat(ks, dim=2), torch.cat(vs, dim=2), SCALE)
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-6)
    assert patterns.asked == [one for one in variants if one.has_pattern]

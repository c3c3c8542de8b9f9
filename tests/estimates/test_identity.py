"""A model is told from others by every value that it has, and is itself in another precision."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.model.tiny_vlms import new_checkpoint
from vlm_lens import HookedVLM
from vlm_lens.estimates.identity import _BLOCK, _checksums, hash_of
from vlm_lens.model.transformer import HookedTransformer


@pytest.fixture
def vlm() -> HookedVLM:
    return HookedVLM.from_hf(new_checkpoint())


EDITS: dict[str, Callable[[Tensor], object]] = {
    "all columns but the first are doubled": lambda weight: weight[:, 1:].mul_(2.0),
    "the last column is noise": lambda weight: weight[:, -1].normal_(),
    "one row is noise": lambda weight: weight[1].normal_(),
    "one value is another": lambda weight: weight[-1, -2].add_(1.0),
    "two rows change places": lambda weight: weight.copy_(weight[[1, 0, *range(2, len(weight))]]),
    "two columns change places": lambda weight: weight.copy_(weight[:, [1, 0, *range(2, weight.shape[1])]]),
    "two columns change their signs": lambda weight: weight[:, 3:8:4].neg_(),
    "all signs change": lambda weight: weight.neg_(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_any_part_of_any_weight_is_noticed(vlm: HookedVLM, edit: str) -> None:
    before = hash_of(vlm)
    weights = [one for one in vlm.parameters() if one.ndim == 2 and min(one.shape) > 8]
    assert len(weights) > 20
    for weight in weights:
        kept = weight.detach().clone()
        with torch.no_grad():
            EDITS[edit](weight)
            assert hash_of(vlm) != before
            weight.copy_(kept)
    assert hash_of(vlm) == before


def test_a_checkpoint_stored_in_half_precision_is_itself_in_every_other() -> None:
    stored = new_checkpoint().half()
    hashes = {hash_of(HookedVLM.from_hf(stored.to(dtype))) for dtype in (torch.float16, torch.float32, torch.bfloat16)}
    assert len(hashes) == 1


def test_noise_in_the_rows_of_one_head_is_noticed(vlm: HookedVLM) -> None:
    before = hash_of(vlm)
    for tower in (vlm, vlm.vision):
        assert isinstance(tower, HookedTransformer)
        for head in range(tower.cfg.n_heads):
            rows = slice(head * tower.cfg.d_head, (head + 1) * tower.cfg.d_head)
            weight = tower.blocks[-1].attn.q_proj.weight
            kept = weight.detach().clone()
            with torch.no_grad():
                weight[rows].add_(torch.randn_like(weight[rows]), alpha=0.1)
                assert hash_of(vlm) != before
                weight.copy_(kept)


@pytest.mark.parametrize("n", [1, _BLOCK - 1, _BLOCK, 2 * _BLOCK + 3])
def test_a_checksum_is_that_of_a_plain_loop_in_python(n: int) -> None:
    numbers = np.random.PCG64(0).random_raw(_BLOCK)
    parameter = nn.Parameter(torch.randn(n, generator=torch.Generator().manual_seed(0)))
    shape, sums = _checksums(parameter)
    assert shape == (n,) and len(sums) == -(-n // _BLOCK)
    bits = parameter.detach().bfloat16().view(torch.int16).tolist()
    for block, found in enumerate(sums.tolist()):
        held = bits[block * _BLOCK : (block + 1) * _BLOCK]
        total = sum(one * (int(number) | 1) for one, number in zip(held, numbers.tolist(), strict=False))
        assert found % 2**64 == total % 2**64
    assert torch.equal(_checksums(nn.Parameter(parameter.detach().bfloat16()))[1], sums)


def test_tensors_in_another_layout_and_integers_have_checksums_too() -> None:
    weight = torch.randn(6, 10)
    assert torch.equal(_checksums(nn.Parameter(weight.t().contiguous().t()))[1], _checksums(nn.Parameter(weight))[1])
    packed = nn.Parameter(torch.arange(30, dtype=torch.uint8), requires_grad=False)
    changed = nn.Parameter(packed.detach().clone().index_fill(0, torch.tensor(3), 200), requires_grad=False)
    assert not torch.equal(_checksums(packed)[1], _checksums(changed)[1])
    assert _checksums(nn.Parameter(torch.empty(3, 4, device="meta"))) == (3, 4)

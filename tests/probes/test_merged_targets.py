"""Targets whose aliases are merged: each stands as one token in the vocabulary that any of them is ranked in."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import LogitLens
from vlm_lens.errors import InputError
from vlm_lens.metrics.identifiability import label_ranks
from vlm_lens.probes.lens.lens_queue import LensQueue, lens_statistics
from vlm_lens.probes.lens.read_out import VocabularyReadOut

PLENTY = 2**28


class AsTheyAre:
    """States that are logits already."""

    def __init__(self, n_outputs: int) -> None:
        self.n_outputs = n_outputs

    def logits(self, states: Tensor, memory: int) -> Tensor:
        return states.clone()


def merged_ranks(logits: Tensor, groups: list[tuple[int, ...]], memory: int = PLENTY) -> list[list[int]]:
    read_out = AsTheyAre(logits.shape[1])
    return lens_statistics(logits, read_out, 3, groups, memory, is_merged=True).target_ranks.tolist()


def written_out(row: list[float], groups: list[tuple[int, ...]], number: int) -> tuple[int, int]:
    """The best and the worst rank of a group in the merged vocabulary, ties up to rounding, by building it."""
    merged = {group: math.fsum(row[one] for one in group) for group in groups}
    in_a_group = {one for group in groups for one in group}
    own = merged.pop(groups[number])
    others = [*merged.values(), *(value for one, value in enumerate(row) if one not in in_a_group)]
    above = sum(other > own * (1 + 1e-5) for other in others)
    return 1 + above, 1 + above + sum(abs(other - own) <= own * 1e-5 for other in others)


def test_a_merged_vocabulary_worked_out_by_hand() -> None:
    """Of 0.30, 0.25, 0.20, 0.15, 0.10 the last three are one token of 0.45, and 0.30 and 0.25 stand alone."""
    logits = torch.tensor([[0.30, 0.25, 0.20, 0.15, 0.10]]).log()
    assert merged_ranks(logits, [(2, 3, 4), (1,), (0,)]) == [[1, 3, 2]]
    assert merged_ranks(logits, [(3, 4), (2,)]) == [[2, 4]]  # 0.30, 0.25, 0.25 together, 0.20: a tie shares its rank


@given(some.data())
def test_a_merged_target_has_its_rank_among_merged_targets_and_the_rest(data: some.DataObject) -> None:
    n_outputs = data.draw(some.integers(2, 14))
    numbers = some.lists(some.integers(-4, 4), min_size=n_outputs, max_size=n_outputs)
    logits = torch.tensor(data.draw(some.lists(numbers, min_size=1, max_size=4))).float() * 1.7
    order = data.draw(some.permutations(range(n_outputs)))
    ends = sorted(data.draw(some.sets(some.integers(1, n_outputs), min_size=1, max_size=4)))
    groups = [tuple(order[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    memory = data.draw(some.sampled_from([1, 200, PLENTY]))
    found = merged_ranks(logits, groups, memory)
    plain = label_ranks(logits, groups, merged=True, memory=memory)
    for place, row in enumerate(logits.double().softmax(dim=-1).tolist()):
        for number in range(len(groups)):
            low, high = written_out(row, groups, number)
            assert low <= found[place][number] <= high
            assert low <= int(plain[place, number]) <= high


def test_one_target_alone_has_the_same_rank_either_way() -> None:
    logits, read_out = torch.randn(20, 50), AsTheyAre(50)
    apart = lens_statistics(logits, read_out, 3, [(3, 7, 9)], PLENTY).target_ranks
    assert merged_ranks(logits, [(3, 7, 9)]) == apart.tolist()


def test_no_targets_are_merged_into_nothing() -> None:
    assert merged_ranks(torch.randn(4, 9), []) == [[], [], [], []]


def test_merging_waits_for_no_device() -> None:
    read_out = VocabularyReadOut(nn.LayerNorm(24, device="meta"), nn.Linear(24, 400, device="meta"), 400)
    queue = LensQueue(read_out, 5, [(3, 9), (4,)], PLENTY, is_merged=True)
    awaited = queue.put(torch.empty(7, 24, device="meta"))
    queue.finish()
    assert awaited.statistics.target_ranks.device.type == "meta"


@pytest.fixture(scope="module")
def vlm() -> Any:
    return tiny_vlm()


ALIASES = {"one": [300, 301, 302], "two": [310, 311], "three": [320]}


@pytest.mark.parametrize("merged", [True, False])
def test_a_lens_ranks_its_targets_as_a_plain_count_over_its_logits_does(vlm: Any, merged: bool) -> None:
    """The states are cached, normed and unembedded by hand, and ranked by the plain function."""
    lens = LogitLens(targets=ALIASES, merges_targets=merged)
    inputs = tiny_inputs(vlm)
    reading = vlm.run(inputs, lens)[lens]
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.endswith("hook_resid_post"))
    states = torch.stack(
        [cache["resid_post", layer][reading.rows, reading.positions] for layer in range(vlm.cfg.n_layers)]
    )
    with torch.no_grad():
        logits = vlm.unembed.linear(vlm.ln_final.norm(states)).float()
    expected = label_ranks(logits, list(ALIASES.values()), merged=merged)
    assert reading.states[0] == "embed"
    assert reading.target_ranks[1:].tolist() == expected.tolist()
    assert expected.unique().numel() > 10


def test_merging_changes_a_rank_where_a_target_is_ahead_of_others(vlm: Any) -> None:
    """Many aliases before a token are one when they are merged."""
    inputs = tiny_inputs(vlm)
    many = {"many": list(range(200, 400)), "one": [450]}
    apart, merged = LogitLens(targets=many), LogitLens(targets=many, merges_targets=True)
    run = vlm.run(inputs, apart, merged)
    ahead, behind = run[merged].target_ranks[..., 1], run[apart].target_ranks[..., 1]
    assert (ahead <= behind).all() and (ahead < behind).any()
    assert apart.fingerprint() != merged.fingerprint()


def test_merged_targets_that_share_an_alias_are_refused(vlm: Any) -> None:
    lens = LogitLens(targets={"one": [300, 301], "two": [301]}, merges_targets=True)
    with pytest.raises(InputError, match="without a common alias, got .* of 'one' and of 'two'"):
        vlm.run(tiny_inputs(vlm), lens)

"""What a lens keeps of a distribution, against sums and sorting written out."""

import math
from dataclasses import dataclass, field, fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

from vlm_lens.probes.lens.lens_queue import LensQueue, lens_statistics
from vlm_lens.probes.lens.lens_statistics import LensStatistics
from vlm_lens.probes.lens.read_out import VocabularyReadOut, multiplied

PLENTY = 2**28


@dataclass(frozen=True, eq=False)
class AsTheyAre:
    """States that are logits already; remembers how many places came at once."""

    n_outputs: int
    sizes: list[int] = field(default_factory=list)

    def logits(self, states: Tensor, memory: int) -> Tensor:
        self.sizes.append(len(states))
        return states.clone()


def statistics_of(
    logits: Tensor, groups: list[tuple[int, ...]] = (), top_k: int = 3, memory: int = PLENTY
) -> LensStatistics:
    return lens_statistics(logits, AsTheyAre(logits.shape[1]), top_k, groups, memory)


def test_a_distribution_worked_out_by_hand() -> None:
    """One half, one quarter, two eighths: 1.75 bits; the eighths together tie with the quarter and share its rank."""
    logits = torch.tensor([[2.0, 1.0, 4.0, 1.0]]).log()
    found = statistics_of(logits, [(2,), (0,), (1,), (1, 3), (0, 1, 3)])
    assert found.top_ids[0, :2].tolist() == [2, 0]
    torch.testing.assert_close(found.top_probabilities, torch.tensor([[0.5, 0.25, 0.125]]))
    torch.testing.assert_close(found.entropy, torch.tensor([1.75 * math.log(2)]))
    assert found.target_ranks.tolist() == [[1, 2, 3, 2, 1]]
    torch.testing.assert_close(found.target_log_probabilities.exp(), torch.tensor([[0.5, 0.25, 0.125, 0.25, 0.5]]))


def test_all_outputs_alike_share_the_first_rank() -> None:
    found = statistics_of(torch.zeros(2, 1000), [(7,)])
    assert found.target_ranks.tolist() == [[1], [1]]
    torch.testing.assert_close(found.entropy, torch.full((2,), math.log(1000)))


@given(some.data())
def test_a_group_has_the_sum_of_its_probabilities_and_its_rank_among_the_others(data: some.DataObject) -> None:
    n_outputs = data.draw(some.integers(2, 12))
    numbers = some.lists(some.integers(-4, 4), min_size=n_outputs, max_size=n_outputs)
    logits = torch.tensor(data.draw(some.lists(numbers, min_size=1, max_size=4))).float() * 1.7
    outputs = some.lists(some.integers(0, n_outputs - 1), min_size=1, max_size=n_outputs, unique=True)
    groups = [tuple(group) for group in data.draw(some.lists(outputs, min_size=1, max_size=3))]
    found = statistics_of(logits, groups, memory=data.draw(some.sampled_from([1, 200, PLENTY])))
    for place, row in enumerate(logits.double().softmax(dim=-1).tolist()):
        for number, group in enumerate(groups):
            summed = math.fsum(row[output] for output in group)
            others = [row[output] for output in range(n_outputs) if output not in group]
            above = sum(other > summed * (1 + 1e-5) for other in others)
            alike = sum(abs(other - summed) <= summed * 1e-5 for other in others)  # ties, up to rounding
            assert 1 + above <= int(found.target_ranks[place, number]) <= 1 + above + alike
            assert float(found.target_log_probabilities[place, number]) == pytest.approx(math.log(summed), abs=2e-6)
        best = sorted(row, reverse=True)[:3]
        assert found.top_probabilities[place].tolist() == pytest.approx(best, abs=1e-6)
        assert [row[one] for one in found.top_ids[place].tolist()] == pytest.approx(best, abs=1e-12)


def test_no_more_places_at_once_than_the_memory_holds() -> None:
    logits = torch.randn(50, 64)
    read_out = AsTheyAre(64)
    bounded = lens_statistics(logits, read_out, 5, [(3, 9)], memory=(64 + 64) * 4 * 4 * 7)
    assert read_out.sizes == [7] * 7 + [1]
    whole = statistics_of(logits, [(3, 9)], top_k=5)
    assert torch.equal(bounded.top_ids, whole.top_ids) and torch.equal(bounded.target_ranks, whole.target_ranks)
    torch.testing.assert_close(bounded.entropy, whole.entropy)


@given(some.lists(some.integers(0, 30), min_size=1, max_size=8), some.integers(1, 40))
def test_states_that_come_one_after_the_other_are_read_out_together(sizes: list[int], n_at_once: int) -> None:
    """In as few products as the memory allows, and each gets back what it says by itself."""
    layers, read_out = [torch.randn(size, 16) for size in sizes], AsTheyAre(16)
    queue = LensQueue(read_out, 3, [(3,), (5, 9)], memory=(16 + 16) * 4 * 4 * n_at_once)
    awaited = [queue.put(layer) for layer in layers]
    queue.finish()
    assert len(read_out.sizes) == -(-sum(sizes) // n_at_once) and max(read_out.sizes, default=0) <= n_at_once
    for layer, one in zip(layers, awaited, strict=True):
        alone = statistics_of(layer, [(3,), (5, 9)]) if len(layer) else None
        for each in fields(LensStatistics) if alone else ():
            assert torch.equal(getattr(one.statistics, each.name), getattr(alone, each.name))


def test_what_still_waits_is_read_out_when_it_is_asked_for() -> None:
    read_out = AsTheyAre(16)
    awaited = LensQueue(read_out, 3, [], PLENTY).put(torch.randn(4, 16))
    assert read_out.sizes == []
    assert awaited.statistics.entropy.shape == (4,) and read_out.sizes == [4]


def test_nothing_waits_for_the_device_and_nothing_leaves_it() -> None:
    """A meta tensor has no values: whoever copies it to the CPU or asks what it holds fails."""
    linear = nn.Linear(24, 400, device="meta")
    queue = LensQueue(VocabularyReadOut(nn.LayerNorm(24, device="meta"), linear, 400), 5, [(3, 9)], PLENTY)
    awaited = [queue.put(torch.empty(7, 24, device="meta")) for _ in range(3)]
    queue.finish()
    for one in awaited:
        assert {getattr(one.statistics, each.name).device.type for each in fields(LensStatistics)} == {"meta"}


def test_cuda_multiplies_half_precision_weights_as_they_are() -> None:
    """As far as it can be told without one: the product is of these shapes and in fp32."""
    normed, weight = (torch.empty(size, 24, dtype=torch.bfloat16, device="meta") for size in (5, 400))
    logits = multiplied(normed, weight)
    assert logits.shape == (5, 400) and logits.dtype == torch.float32


@pytest.mark.parametrize("memory", [1, 4 * 4 * 24 * 10, PLENTY])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("has_bias", [True, False])
def test_half_precision_is_multiplied_in_fp32_piece_by_piece(memory: int, dtype: torch.dtype, has_bias: bool) -> None:
    """Weights of 8 bits tie many of 400 logits when the product is rounded too; in fp32 there is no tie."""
    linear, norm = nn.Linear(24, 400, bias=has_bias).to(dtype), nn.LayerNorm(24).to(dtype)
    states = torch.randn(5, 24, dtype=dtype)
    with torch.no_grad():
        found = VocabularyReadOut(norm, linear, 400).logits(states, memory)
        expected = norm(states).double() @ linear.weight.double().T
        expected = expected + linear.bias.double() if has_bias else expected
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert len(found[0].unique()) == 400 > len(linear(norm(states))[0].unique())


def test_a_wrapped_unembedding_is_called_as_it_is() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    linear, states = Doubled(8, 12).bfloat16(), torch.randn(3, 8, dtype=torch.bfloat16)
    with torch.no_grad():
        found = VocabularyReadOut(nn.Identity(), linear, 12).logits(states, PLENTY)
        assert torch.equal(found, linear(states).float())

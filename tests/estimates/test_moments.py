"""Moments of parts, merged, are the moments of the whole.

In fp64 the relative error of a merge is a few times 1e-16, and 1e-12 leaves room for many.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_lens.estimates.moments import Moments

BATCH, POS, FEATURES = 40, 6, 5


def values(offset: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    stream = torch.randn(BATCH, POS, FEATURES, generator=random) * 2 + offset
    return stream, torch.rand(BATCH, POS, generator=random) < 0.7


def of_parts(stream: torch.Tensor, is_seen: torch.Tensor, cuts: list[int], per_position: bool) -> Moments:
    bounds = [0, *sorted(cuts), BATCH]
    parts = [
        Moments.of(stream[start:stop], is_seen[start:stop], per_position, torch.float64)
        for start, stop in zip(bounds, bounds[1:], strict=False)
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merged(part)
    return whole


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, BATCH), max_size=6), st.sampled_from([0.0, 3.0, 1e4]), st.booleans())
def test_any_split_merges_to_the_same(cuts: list[int], offset: float, per_position: bool) -> None:
    stream, is_seen = values(offset)
    found, whole = of_parts(stream, is_seen, cuts, per_position), of_parts(stream, is_seen, [], per_position)
    assert torch.equal(found.n, whole.n)
    torch.testing.assert_close(found.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.variance(), whole.variance(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_mean_and_unbiased_variance_are_those_of_numpy(offset: float) -> None:
    stream, is_seen = values(offset)
    found = of_parts(stream, is_seen, [7, 8, 30], per_position=False)
    plain = stream.double().numpy()[is_seen.numpy()]
    np.testing.assert_allclose(found.mean.numpy(), plain.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variance().numpy(), plain.var(axis=0, ddof=1), rtol=1e-12)
    assert int(found.n) == len(plain)


def test_positions_kept_apart_are_those_of_numpy() -> None:
    stream, is_seen = values()
    found = of_parts(stream, is_seen, [3, 21], per_position=True)
    for position in range(POS):
        plain = stream.double().numpy()[is_seen[:, position].numpy(), position]
        np.testing.assert_allclose(found.mean[position].numpy(), plain.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.variance()[position].numpy(), plain.var(axis=0, ddof=1), rtol=1e-12)
        assert int(found.n[position]) == len(plain)


def test_nothing_and_one_vector_have_no_variance() -> None:
    stream, is_seen = values()
    nothing = Moments.of(stream, torch.zeros_like(is_seen), False, torch.float64)
    one = Moments.of(stream[:1, :1], torch.ones(1, 1, dtype=torch.bool), False, torch.float64)
    assert nothing.variance().isnan().all() and one.variance().isnan().all()
    both = nothing.merged(one)
    assert torch.equal(both.mean, stream[0, 0].double()) and int(both.n) == 1
    torch.testing.assert_close(one.merged(nothing).mean, both.mean, rtol=0, atol=0)


def test_what_does_not_count_cannot_spoil_the_sum() -> None:
    stream, is_seen = values()
    clean = Moments.of(stream, is_seen, True, torch.float64)
    stream[~is_seen] = torch.nan
    spoilt = Moments.of(stream, is_seen, True, torch.float64)
    assert torch.equal(clean.mean, spoilt.mean) and torch.equal(clean.squares, spoilt.squares)

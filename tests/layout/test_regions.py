"""Regions are sets, and know whose."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.errors import PositionError
from vlm_lens.layout import ImageSpan, PatchGrid, Region

SPAN = ImageSpan(start=5, grid=PatchGrid(4, 6, 7, 7), fingerprint="cat")
patch_sets = st.frozensets(st.integers(0, 23))
regions = st.builds(lambda patches: Region(SPAN, 0, patches), patch_sets)


@given(regions, regions)
def test_algebra_is_that_of_sets_within_the_image(a: Region, b: Region) -> None:
    assert (a | b).patch_ids == a.patch_ids | b.patch_ids
    assert (a & b).patch_ids == a.patch_ids & b.patch_ids
    assert (a - b).patch_ids == a.patch_ids - b.patch_ids
    assert a - b == a & ~b
    assert ~(a | b) == ~a & ~b
    assert ~~a == a
    assert len(a) + len(~a) == 24
    assert (a <= b) == ((a | b) == b)


@given(regions)
def test_positions_patches_and_numbers_say_the_same(region: Region) -> None:
    assert region.positions == tuple(5 + patch for patch in sorted(region.patch_ids))
    assert region.patches.flatten().nonzero().flatten().tolist() == list(region)
    assert region.vision_positions(has_class_token=False) == tuple(region)
    assert region.vision_positions(has_class_token=True) == tuple(p + 1 for p in region)


@given(regions, st.integers(0, 3), st.integers(0, 3))
def test_dilating_twice_is_dilating_by_the_sum(region: Region, n: int, m: int) -> None:
    assert region.dilate(n).dilate(m) == region.dilate(n + m)
    assert region <= region.dilate(n)


def test_a_corner_grows_to_a_square_of_its_neighbours() -> None:
    assert list(Region(SPAN, 0, frozenset({0})).dilate()) == [0, 1, 6, 7]


def test_a_class_token_that_was_kept_comes_before_the_patches() -> None:
    kept = replace(SPAN, n_class_tokens=1)
    assert Region(kept, 0, frozenset({0, 23})).positions == (6, 29)
    assert kept.positions == range(5, 30)


@pytest.mark.parametrize(
    "other",
    [
        Region(SPAN, 1, frozenset({1})),
        Region(replace(SPAN, fingerprint="dog"), 0, frozenset({1})),
        Region(replace(SPAN, start=9), 0, frozenset({1})),
        Region(replace(SPAN, grid=PatchGrid(6, 4, 7, 7)), 0, frozenset({1})),
    ],
    ids=["row", "picture", "place", "grid"],
)
def test_regions_of_different_images_do_not_mix(other: Region) -> None:
    region = Region(SPAN, 0, frozenset({1}))
    for combine in (Region.__or__, Region.__and__, Region.__sub__, Region.__le__):
        with pytest.raises(PositionError, match="do not mix"):
            combine(region, other)


def test_a_region_moves_to_another_image_of_the_same_grid_only() -> None:
    region = Region(SPAN, 0, frozenset({1}))
    moved = region.on(replace(SPAN, start=30, fingerprint="dog"), row=2)
    assert (moved.positions, moved.row) == ((31,), 2)
    with pytest.raises(PositionError, match="4 x 6 patches, got 6 x 4"):
        region.on(replace(SPAN, grid=PatchGrid(6, 4, 7, 7)))


@given(regions, st.integers(0, 9))
def test_a_sample_is_a_part_of_the_region_and_the_same_every_time(region: Region, seed: int) -> None:
    part = region.sample(len(region) // 2, seed)
    assert len(part) == len(region) // 2 and part <= region
    assert part == region.sample(len(region) // 2, seed)
    assert region.sample(len(region), seed) == region
    with pytest.raises(PositionError, match=f"0 to {len(region)} patches"):
        region.sample(len(region) + 1)


def test_samples_of_other_seeds_differ() -> None:
    whole = Region(SPAN, 0, frozenset(range(24)))
    assert len({whole.sample(6, seed).patch_ids for seed in range(20)}) > 15


def test_patches_outside_the_grid_are_refused() -> None:
    with pytest.raises(PositionError, match="patches from 0 to 23"):
        Region(SPAN, 0, frozenset({24}))


def test_a_region_draws_one_square_a_patch() -> None:
    region = Region(SPAN, 0, frozenset({3, 9}))
    assert region._repr_html_().count('width="1" height="1"') == 2
    assert repr(region) == "Region(2 of 4 x 6 patches, row=0, image=0)"
    assert torch.equal((~region).patches, ~region.patches)

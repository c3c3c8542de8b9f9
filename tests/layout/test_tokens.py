"""Names of positions, and everything else that selects some."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_lens.errors import InputError, PositionError
from vlm_lens.layout import ROLES, Except, ImageSpan, PatchGrid, PixelGeometry, Region, Resize, TokenLayout

GRID = PatchGrid(2, 3, 7, 7)
GEOMETRY = PixelGeometry((28, 42), (Resize(14, 21),))


def span(start: int, fingerprint: str) -> ImageSpan:
    return ImageSpan(start, GRID, GEOMETRY, fingerprint=fingerprint)


@pytest.fixture
def layout() -> TokenLayout:
    """Row 0 is short and padded on the left; row 1 holds two pictures."""
    n = GRID.n_patches
    short = ["pad"] * 9 + ["bos", "role"] + ["image"] * n + ["question", "question", "role"]
    long = ["bos", "system", *["image"] * n, "question", *["image"] * n, "question", "question", "role", "answer"]
    long += []
    assert len(short) == 20 and len(long) == 19
    short_texts = [""] * 9 + ["<s>", "USER:"] + ["<image>"] * n + [" a", " cat", " ASSISTANT:"]
    long_texts = ["<s>", "Hi", *["<image>"] * n, " and", *["<image>"] * n, " two", " cats", " A:", " It"]
    return TokenLayout.from_roles(
        [short, ["pad", *long]],
        [[span(11, "cat")], [span(3, "dog"), span(10, "bird")]],
        [short_texts, ["", *long_texts]],
    )


def test_names_mean_the_positions_of_their_role(layout: TokenLayout) -> None:
    assert layout.positions("bos") == (9,)
    assert layout.positions("question", row=1) == (9, 16, 17)
    assert layout.positions("image", row=1) == (*range(3, 9), *range(10, 16))
    assert layout.positions("answer") == ()
    assert layout.positions("newline") == layout.positions("generated") == ()


def test_derived_names(layout: TokenLayout) -> None:
    assert layout.positions("last") == layout.positions("predicting") == (19,)
    assert layout.positions("last_row", row=1) == (13, 14, 15)
    assert layout.positions("all", row=0) == layout.positions("prompt") == tuple(range(9, 20))
    assert layout.positions("text", row=1) == (1, 2, 9, 16, 17, 18, 19)


def test_every_position_has_one_role(layout: TokenLayout) -> None:
    counts = sum(layout.mask(role).int() for role in ROLES)
    assert (counts == 1).all()
    assert torch.equal(layout.mask("all"), ~layout.mask("pad"))
    assert torch.equal(layout.mask("text") | layout.mask("image"), layout.mask("all"))


def test_generated_positions_come_after_and_move_no_name_of_the_prompt(layout: TokenLayout) -> None:
    region = layout.patches(rows=0)
    longer = layout.extended(
        [[" a", " cat", "."], [" two", "</s>", ""]], torch.tensor([[False] * 3, [False, False, True]])
    )
    assert longer.shape == (2, 23)
    assert longer.positions("generated") == (20, 21, 22)
    assert longer.positions("predicting") == (19, 20, 21, 22)
    assert longer.positions("predicting", row=1) == (19, 20, 21)
    for selector in ("last", "prompt", "image", -1, slice(-3, -1), region, layout.mask("question")):
        assert longer.positions(selector) == layout.positions(selector)
    assert longer.find("cat") == (18, 21)
    assert layout.extended(2).extended(1).positions("generated") == (20, 21, 22)
    assert layout.positions("generated") == ()


@given(st.lists(st.booleans(), min_size=20, max_size=20))
@settings(max_examples=20)
def test_ints_masks_lists_and_tensors_agree(members: list[bool]) -> None:
    layout = TokenLayout.from_roles([["question"] * 20] * 2)
    positions = [position for position, is_member in enumerate(members) if is_member]
    expected = tuple(positions)
    both_rows = torch.tensor([members, [not m for m in members]])
    for selector in (
        positions,
        tuple(positions),
        set(positions),
        np.array(positions, dtype=int),
        torch.tensor(positions, dtype=torch.long),
        members,
        np.array(members),
        torch.tensor(members),
        both_rows,
        [position - 20 for position in positions],
        [np.int64(position) for position in positions],
        [slice(position, position + 1) for position in positions],
    ):
        assert layout.positions(selector) == expected
    assert torch.equal(layout.mask(both_rows), both_rows)


def test_a_list_is_the_union_of_what_is_in_it(layout: TokenLayout) -> None:
    region = layout.patches(rows=1, cols=[0, -1])
    assert layout.positions(["bos", region, 18, slice(18, 20), range(9, 11)]) == (9, 10, 14, 16, 18, 19)
    assert layout.positions([]) == ()


def test_a_region_counts_in_its_own_row_alone(layout: TokenLayout) -> None:
    region = layout.patches(rows=0, image=1, row=1)
    mask = layout.mask([region, "last"])
    assert mask.nonzero().tolist() == [[0, 19], [1, 10], [1, 11], [1, 12], [1, 19]]


def test_regions_of_other_pictures_rows_and_layouts_are_refused(layout: TokenLayout) -> None:
    region = layout.patches(row=1)
    with pytest.raises(PositionError, match="expected row 0, got row 1"):
        layout.positions(region, row=0)
    with pytest.raises(PositionError, match="another picture"):
        layout.positions(Region(span(11, "horse"), 0, frozenset({0})))
    with pytest.raises(PositionError, match="another picture"):
        layout.mask(Region(span(12, "cat"), 0, frozenset({0})))
    with pytest.raises(PositionError, match="another batch"):
        layout.mask(Region(span(11, "cat"), 2, frozenset({0})))


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("imgae", "Did you mean 'image'"),
        (20, "-20 <= position < 20, got 20"),
        (-21, "-20 <= position < 20, got -21"),
        ([3, 99], "got 99"),
        (torch.ones(19, dtype=torch.bool), r"20 positions, got \[19\]"),
        (torch.ones(1, 20, dtype=torch.bool), "with 2 rows, got \\[1, 20\\]"),
        (True, "not understood"),
        ([1.0], "not understood"),
        ([None], "not understood"),
        (np.array([0.5]), "not understood"),
        (slice(5, 0, -1), "step of 1 or more"),
        (slice(4, 21), r"bounds from -20 to 20, or open ones, got slice\(4, 21, None\). Positions are absolute"),
        (slice(-21, None), "Slice leaves the positions"),
        (slice(21, None), "Slice leaves the positions"),
        ([0, slice(0, 99)], "Slice leaves the positions"),
        (slice(0.5, 3), "not understood"),
        ("cat", r"layout.find\('cat'\), an object in the picture layout.region\(mask\)"),
    ],
    ids=str,
)
def test_what_selects_nothing_sensible_is_refused(layout: TokenLayout, selector: object, message: str) -> None:
    with pytest.raises(PositionError, match=message):
        layout.mask(selector)


def test_slices_reach_as_far_as_positions_do(layout: TokenLayout) -> None:
    assert layout.positions(slice(0, 20)) == layout.positions(slice(-20, None)) == tuple(range(20))
    assert layout.positions(slice(20, None)) == layout.positions(slice(5, 3)) == ()
    to_come = replace(layout, n_planned=25)  # more will be generated, and may be spoken of already
    assert to_come.positions(slice(18, 25)) == (18, 19)
    assert to_come.extended(3).positions(slice(18, 25)) == tuple(range(18, 23))
    with pytest.raises(PositionError, match="bounds from -20 to 25"):
        to_come.positions(slice(18, 26))


def test_a_region_from_a_mask_has_the_patches_that_saw_it(layout: TokenLayout) -> None:
    mask = np.zeros((28, 42), bool)
    mask[13:15, 0:21] = True  # a strip over the border of the two rows of patches
    region = layout.region(mask)
    assert region.patches.tolist() == [[True, True, False]] * 2
    assert region.positions == (11, 12, 14, 15)
    # Half of the second column's patches: 7 of 14 columns, 1 of 14 rows.
    assert list(layout.region(mask, threshold=0.05)) == [0, 3]
    assert len(layout.region(mask, threshold=0.5)) == 0
    same = layout.region(torch.tensor(mask).int() * 255, image=1, row=1)
    assert (same.span.fingerprint, same.image, list(same)) == ("bird", 1, [0, 1, 3, 4])
    assert layout.region(mask, image=-1, row=-1) == same


def test_masks_that_cannot_be_meant_are_refused(layout: TokenLayout) -> None:
    with pytest.raises(InputError, match="28 x 42 .* got 42 x 28"):
        layout.region(np.ones((42, 28), bool))
    with pytest.raises(InputError, match="Mask is empty: "):
        layout.region(np.zeros((28, 42), bool))
    with pytest.raises(InputError, match="values"):
        layout.region(np.arange(28 * 42).reshape(28, 42))
    with pytest.raises(InputError, match=r"shape \[28, 42, 3\]"):
        layout.region(np.ones((28, 42, 3), bool))
    with pytest.raises(InputError, match="0 <= threshold < 1"):
        layout.region(np.ones((28, 42), bool), threshold=1.0)


def test_a_mask_in_what_the_crop_cut_away_is_refused_with_what_was_seen() -> None:
    from vlm_lens.layout import Window

    cropped = PixelGeometry((14, 100), (Window(0, 40, 14, 21),))
    layout = TokenLayout.from_roles([["image"] * 6], [[ImageSpan(0, GRID, cropped)]])
    mask = np.zeros((14, 100), bool)
    mask[:, :40] = True
    with pytest.raises(InputError, match=r"empty after the crop.*\(0.0, 40.0, 14.0, 61.0\).*560 marked"):
        layout.region(mask)
    mask[3, 40] = True
    assert list(layout.region(mask)) == [0]


def test_without_the_original_only_patch_masks_make_regions() -> None:
    layout = TokenLayout.from_roles([["image"] * 6], [[ImageSpan(0, GRID)]])
    with pytest.raises(InputError, match="Pixels of the original are unknown"):
        layout.region(np.ones((28, 42), bool))
    patches = torch.tensor([[True, False, False], [False, False, True]])
    assert list(layout.patches(patches)) == [0, 5]


def test_patches_by_place(layout: TokenLayout) -> None:
    assert len(layout.patches()) == 6
    assert list(layout.patches(rows=-1)) == [3, 4, 5]
    assert list(layout.patches(rows=slice(None), cols=0)) == [0, 3]
    assert layout.patches(rows=-1).positions == layout.positions("last_row")
    with pytest.raises(PositionError, match="Patch row does not exist: expected -2 <= row < 2, got 2"):
        layout.patches(rows=2)
    with pytest.raises(InputError, match="2 x 3"):
        layout.patches(torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(PositionError, match="which has 1"):
        layout.patches(image=1)
    with pytest.raises(PositionError, match="which has 2"):
        layout.patches(row=2)


def test_words_are_found_by_row_and_occurrence(layout: TokenLayout) -> None:
    longer = layout.extended([[" the", " cat"], [" cat", "s"]])
    assert longer.find("cat") == (18, 21)
    assert longer.find("cat", occurrence=0) == (18,)
    assert longer.find("cat", occurrence=-1) == (21,)
    assert longer.find("cat", occurrence=2) == ()
    assert longer.find("cat", row=1) == ()
    assert longer.find(" cats ", row=1) == (17, 20, 21)
    assert longer.find("image") == ()
    with pytest.raises(PositionError, match="a word"):
        longer.find("  ")


def test_a_row_alone_is_the_row_without_its_padding(layout: TokenLayout) -> None:
    longer = layout.extended(2)
    for row in range(2):
        alone, offset = longer.row(row), longer.positions("all", row)[0]
        for name in (*ROLES[1:], "last", "last_row", "predicting", "text", -1):
            assert alone.positions(name) == tuple(p - offset for p in longer.positions(name, row))
        assert alone.text() == longer.text(row)


def test_the_drawing_escapes_tokens() -> None:
    layout = TokenLayout.from_roles([["question", "role"]], strings=[["<b>x</b>", "&"]])
    html = layout._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;x&lt;/b&gt;" in html and "&amp;" in html


def test_positions_can_be_said_row_by_row_and_some_left_out() -> None:
    layout = TokenLayout.from_roles(
        [["bos", "system", "question", "role"], ["pad", "bos", "question", "role"]]
    ).extended(1)
    assert layout.positions("prompt_text", 0) == (0, 1, 2, 3) and layout.positions("prompt_text", 1) == (1, 2, 3)
    assert layout.positions(Except("prompt_text", but="last"), 1) == (1, 2)
    assert layout.positions(Except("all", but=["generated", 0]), 0) == (1, 2, 3)
    by_row = layout.mask({0: "system", 1: ["bos", "generated"]})
    assert by_row.nonzero().tolist() == [[0, 1], [1, 1], [1, 4]]
    assert layout.positions({1: "bos"}, 0) == ()

"""Positions can be named before they are generated, and mistakes in a selector are told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vlm_lens.errors import PositionError
from vlm_lens.layout import PatchGrid, PictureLayout, TokenLayout

PROMPT = TokenLayout.from_roles([["bos", "question", "question"], ["pad", "bos", "question"]])
PLANNED = replace(PROMPT, n_planned=6)


def test_ints_and_masks_may_speak_of_planned_positions() -> None:
    mask = torch.tensor([False, False, True, False, True, True])
    assert PLANNED.positions([1, 4, 5]) == (1,)
    assert PLANNED.positions(mask) == (2,)
    grown = PLANNED.extended(2)
    assert grown.positions([1, 4, 5]) == (1, 4)
    assert grown.positions(mask) == grown.positions(mask.expand(2, -1), row=1) == (2, 4)
    assert grown.positions(torch.tensor([True, False, False])) == (0,)


def test_positions_beyond_the_plan_are_refused() -> None:
    with pytest.raises(PositionError, match="-3 <= position < 6, got 6"):
        PLANNED.positions(6)
    with pytest.raises(PositionError, match="with 3 or 6 positions"):
        PLANNED.positions(torch.ones(5, dtype=torch.bool))
    with pytest.raises(PositionError, match="-3 <= position < 3, got 4"):
        PROMPT.positions(4)


@pytest.mark.parametrize("selector", [{2: "all"}, ["bos", {-1: "all"}], {0: {True: "all"}}])
def test_rows_that_the_batch_has_not_are_refused_wherever_they_stand(selector: object) -> None:
    with pytest.raises(PositionError, match="rows from 0 to 1"):
        PROMPT.mask(selector)


def test_a_mask_of_integers_is_no_list_of_positions() -> None:
    with pytest.raises(PositionError, match="make it boolean"):
        PROMPT.positions(np.array([0, 1, 1]))
    assert PROMPT.positions(np.array([0, 1])) == (0, 1)


def test_a_name_of_the_other_tower_is_said_to_be_one() -> None:
    with pytest.raises(PositionError, match="'cls' is a name of positions of the vision tower"):
        PROMPT.positions("cls")
    with pytest.raises(PositionError, match="'predicting' is a name of positions of the decoder"):
        PictureLayout.unknown(1, PatchGrid(4, 4, 7, 7), 1).positions("predicting")


def test_a_mask_over_patches_is_sent_to_patches() -> None:
    with pytest.raises(PositionError, match=r"got \[4, 4\]. .*one over patches with layout.patches\(mask\)"):
        PROMPT.positions(torch.ones(4, 4, dtype=torch.bool))

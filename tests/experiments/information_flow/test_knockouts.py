"""Which rows lose the picture, and in which layers."""

import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments.information_flow.knockouts import (
    FROM,
    KNOCKOUTS,
    OUTSIDE,
    TO_BOTH,
    TO_GENERATED,
    TO_TEXT,
    Blocked,
    first_layers,
    knockouts,
)
from vlm_lens.experiments.layer_windows import at_depth, named_layers
from vlm_lens.layout import Except


def test_each_knockout_stands_from_every_layer_on_and_outside_of_the_window() -> None:
    found = knockouts(32, range(4, 21), first_layers(32, 8), "predicting", True)
    places = [(FROM, 0), (FROM, 8), (FROM, 16), (FROM, 24), (OUTSIDE, 4)]
    assert list(found) == [Blocked(name, *place) for name in KNOCKOUTS for place in places]
    assert list(found[TO_TEXT, FROM, 24].layers) == list(range(24, 32))
    assert list(found[TO_TEXT, OUTSIDE, 4].layers) == [0, 1, 2, 3, *range(21, 32)]


def test_query_text_is_the_prompt_without_its_image_tokens_and_both_is_both() -> None:
    found = knockouts(6, range(1, 4), range(1), "predicting", True)
    queries = {name: found[name, FROM, 0].queries for name in KNOCKOUTS}
    assert queries == {
        TO_GENERATED: "predicting",
        TO_TEXT: "prompt_text",
        TO_BOTH: ["prompt_text", "predicting"],
    }
    assert {one.keys for one in found.values()} == {"image"}


def test_the_last_row_of_the_prompt_can_be_left_to_the_generated_tokens() -> None:
    found = knockouts(6, range(1, 4), range(1), "predicting", False)
    assert found[TO_TEXT, FROM, 0].queries == Except("prompt_text", but="last")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="queries"):
        knockouts(6, range(1, 4), range(1), "question", True)
    with pytest.raises(InputError, match="window"):
        knockouts(6, range(6), range(1), "predicting", True)
    with pytest.raises(InputError, match="stride"):
        first_layers(6, 0)


def test_a_window_keeps_its_share_of_the_depth() -> None:
    assert at_depth((4, 20), 32, 32) == range(4, 21)  # LLaVA-1.5, both ends in
    assert at_depth((20, 40), 80, 80) == range(20, 41)  # InternVL2-76B
    assert at_depth((20, 40), 80, 32) == range(8, 16)
    assert at_depth((4, 20), 32, 6) == range(1, 4)
    assert at_depth((31, 31), 32, 2) == range(1, 2)  # at least one layer, and one that is there


@pytest.mark.parametrize("layers", [(20, 4), (-1, 4), (4, 32)])
def test_a_window_of_layers_that_are_not_there_is_refused(layers: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="first and last of 0 to 31"):
        at_depth(layers, 32, 6)


def test_layers_are_named_by_their_ends() -> None:
    assert [named_layers(one) for one in (range(3, 6), range(3, 4), range(0))] == ["3 to 5", "3", "none"]

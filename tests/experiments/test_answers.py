"""The token that an answer begins with, where the vocabulary has the word and where it does not."""

import pytest

from tests.inputs.tiny_processors import processor_of
from tests.tiny_models import tiny_llava
from vlm_lens import HookedVLM
from vlm_lens.errors import InputError
from vlm_lens.experiments.answers import beginning_of


def test_an_answer_is_begun_by_its_own_first_piece() -> None:
    begun = beginning_of(HookedVLM.demo(), "cat")
    assert begun.is_whole and begun.pieces == (" cat",)


def test_an_answer_whose_first_piece_is_white_space_is_refused_with_its_pieces() -> None:
    vlm = HookedVLM.from_hf(tiny_llava(), processor_of())
    with pytest.raises(InputError, match="Answer 'boat' behind 'It is a'") as refused:
        beginning_of(vlm, "boat")
    assert "got [' ', 'b'" in str(refused.value)

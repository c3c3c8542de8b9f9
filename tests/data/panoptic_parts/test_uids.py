"""Uids against their digits, read one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.data.panoptic_parts import split_uids
from vlm_lens.errors import InputError


def by_digits(uid: int) -> tuple[int, int, int]:
    """The format's definition: 1-2 digits class, then 3 instance, then 2 part."""
    text = str(uid)
    if len(text) <= 2:
        return int(text), 0, 0
    if len(text) <= 5:
        return int(text[:-3]), int(text[-3:]), 0
    return int(text[:-5]), int(text[-5:-2]), int(text[-2:])


@given(st.lists(st.one_of(st.integers(0, 99), st.integers(1_000, 9_999_999)), min_size=1))
def test_ids_are_the_digits(uids: list[int]) -> None:
    split = split_uids(np.array(uids, np.int32))
    assert [tuple(ids) for ids in np.stack(split, axis=1).tolist()] == [by_digits(uid) for uid in uids]


def test_ids_keep_the_form_of_the_label() -> None:
    label = np.array([[0, 93, 7001], [1_001_006, 1_000_100, 1_501_524]], np.int32)
    semantic, instance, part = split_uids(label)
    assert semantic.tolist() == [[0, 93, 7], [10, 10, 15]]
    assert instance.tolist() == [[0, 0, 1], [10, 1, 15]]
    assert part.tolist() == [[0, 0, 0], [6, 0, 24]]


@pytest.mark.parametrize("wrong", [-1, 100, 999, 10_000_000])
def test_a_number_that_is_no_uid_is_refused(wrong: int) -> None:
    with pytest.raises(InputError, match=f"1, 2 or 4 to 7 digits.*got {wrong}"):
        split_uids(np.array([93, wrong], np.int32))

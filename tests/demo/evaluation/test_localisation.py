"""Patches around an object, and what a description names."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.demo.evaluation.accuracy import kinds_named
from vlm_lens.demo.evaluation.localisation import dilated


@given(st.sets(st.integers(0, 143), max_size=20))
def test_dilation_adds_the_eight_neighbours(chosen: set[int]) -> None:
    patches = np.isin(np.arange(144), sorted(chosen))
    expected = {
        12 * (row + down) + column + right
        for row, column in (divmod(patch, 12) for patch in chosen)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if 0 <= row + down < 12 and 0 <= column + right < 12
    }
    assert set(np.flatnonzero(dilated(patches)).tolist()) == expected


def test_kinds_are_named_by_whole_words() -> None:
    text = "A brown cat is on the bed on the left. The cat has a head. A carpet, a scar, a Dog."
    assert kinds_named(text) == {"cat", "dog"}

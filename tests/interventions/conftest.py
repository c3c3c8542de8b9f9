"""A tiny model that must be left without hooks, and a padded batch."""

from collections.abc import Iterator

import pytest

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import HookedVLM, Inputs


@pytest.fixture
def vlm() -> Iterator[HookedVLM]:
    vlm = tiny_vlm()
    yield vlm
    assert all(point.is_idle for point in vlm.hook_dict.values())


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)

"""A tiny model that must be left as it was found, and prompts without padding."""

from typing import Any

import pytest

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import HookedVLM, Inputs
from vlm_lens.attachments.running.standing import standing_at


@pytest.fixture
def vlm() -> Any:
    vlm = tiny_vlm()
    yield vlm
    assert all(point.is_idle for point in vlm.hook_dict.values())
    assert not vlm._forward_pre_hooks and not vlm._forward_hooks and standing_at(vlm) == ()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm, is_padded=False)

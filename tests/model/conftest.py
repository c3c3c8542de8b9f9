"""One tiny vision-language model for all tests of the model, and the promise that none of them leaves a hook."""

from collections.abc import Iterator

import pytest

from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs
from vlm_lens import HookedVLM
from vlm_lens.inputs import Inputs


@pytest.fixture(scope="session")
def checkpoint():
    return tiny_checkpoint()


@pytest.fixture(scope="session")
def shared_vlm(checkpoint) -> HookedVLM:
    return HookedVLM.from_hf(checkpoint)


@pytest.fixture
def vlm(shared_vlm: HookedVLM) -> Iterator[HookedVLM]:
    """The shared model; no hook may stand at it when a test ends."""
    yield shared_vlm
    standing = [name for name, point in shared_vlm.hook_dict.items() if not point.is_idle]
    shared_vlm.reset_hooks(including_permanent=True)
    assert standing == []


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    """Two rows with a picture each, the second padded on the left."""
    return tiny_inputs(vlm)

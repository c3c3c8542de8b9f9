"""The bundled model, and a picture that it has read once."""

import pytest

from vlm_lens import HookedVLM
from vlm_lens.context import ReadPrompt, read_prompt
from vlm_lens.demo.examples import example_scenes

N_STEPS = 5


@pytest.fixture(scope="module")
def demo() -> HookedVLM:
    return HookedVLM.demo()


@pytest.fixture(scope="module")
def read(demo: HookedVLM) -> ReadPrompt:
    return read_prompt(demo, example_scenes()[0].scene.image, prompt="Describe this image.", max_new_tokens=N_STEPS)

"""What the tests of described pictures share: the bundled model, a context over scenes, the same weights elsewhere."""

from functools import cache
from pathlib import Path
from typing import Any

from transformers import LlavaForConditionalGeneration

from tests.interventions.plain_transformers import Plain
from vlm_lens import HookedVLM
from vlm_lens.data import read_scenes
from vlm_lens.demo import vlm_folder
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment

SHORT = 6
"""Tokens of a description where a test needs only its beginning."""


@cache
def demo() -> HookedVLM:
    return HookedVLM.demo()


@cache
def plain_demo() -> Plain:
    """The bundled weights under plain `transformers`, attention written out."""
    return Plain(LlavaForConditionalGeneration.from_pretrained(vlm_folder(), dtype="float32").eval())


def context_of(experiment: Experiment, n: int = 2, preset: str = "default", **options: Any) -> Context:
    """The first scenes, the bundled model and an experiment's options."""
    chosen = experiment.Options.preset(preset).but(**options)
    data = experiment.chosen(read_scenes(n), chosen)
    return Context(demo(), data, chosen, 0, Path(), shows_progress=False)

"""What the tests of the ablation of objects share: scenes, the bundled model, and a mean of a few pictures."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.object_ablation import ObjectAblation

QUICK = {"n_steps": 2, "counts": (9, 250), "mean_pictures": "scenes,n=3,first=9900000"}


@cache
def folder_with_mean() -> Path:
    """A run's folder in which the mean of three scenes stands."""
    folder = Path(tempfile.mkdtemp())
    ObjectAblation().prepare(_context(folder, "default", 1))
    return folder


def context_of(preset: str = "default", n: int = 3, **options: Any) -> Context:
    """Scenes with something on a surface, and options that are quick to run."""
    return _context(folder_with_mean(), preset, n, **options)


def _context(folder: Path, preset: str, n: int, **options: Any) -> Context:
    experiment = ObjectAblation()
    chosen = experiment.Options.preset(preset).but(**{**QUICK, **options})
    data = experiment.chosen(read_scenes(n, surfaces=True), chosen)
    return Context(demo(), data, chosen, 0, folder, shows_progress=False)

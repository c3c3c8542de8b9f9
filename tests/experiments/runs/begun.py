"""A run that is begun in another process, to be killed there."""

from pathlib import Path
from typing import Any

from vlm_lens.experiments import run_experiment

SMALL: dict[str, Any] = {"data": "scenes,n=20,surfaces=true", "windows": "sliding", "width": 6}


def begin(folder: Path) -> None:
    """The run, on one thread."""
    import torch

    torch.set_num_threads(1)
    run_experiment("attention-blocking", out=folder, shows_progress=False, **SMALL)

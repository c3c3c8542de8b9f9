"""Checkpoints of a training: written beside the last good one, then put in its place."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from vlm_lens.errors import CheckpointError

FILE_NAME = "training.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state so that an interruption leaves the checkpoint before it.

    Args:
        folder: Where; it is made if missing.
        state: Tensors, numbers, texts, and lists and dictionaries of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{FILE_NAME}.unfinished"
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE_NAME)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last good checkpoint, None where there is none.

    Raises:
        CheckpointError: The file is there and cannot be read.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    unreadable = (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except unreadable as error:
        raise CheckpointError(
            "Training checkpoint", "a file that torch can read", str(path), "Delete it to start anew."
        ) from error

"""The bundled model: its scenes, its texts, its training, its weights."""

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"


def vlm_folder() -> Path:
    """The bundled vision-language model's checkpoint folder."""
    return _WEIGHTS / "vlm"


def clip_folder() -> Path:
    """The checkpoint folder of the CLIP model whose vision tower it has."""
    return _WEIGHTS / "clip"

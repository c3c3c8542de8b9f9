"""What all written formats share: names of files, and files that are whole or absent."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vlm_lens.demo.scenes.scene import Scene
from vlm_lens.errors import InputError


def file_stem(scene: Scene) -> str:
    """The name of a scene's files without their ending: its seed with twelve digits."""
    return f"{scene.seed:012d}"


def check_distinct(scenes: Sequence[Scene]) -> None:
    """Refuse scenes that would overwrite each other.

    Raises:
        InputError: two scenes have one seed.
    """
    counts = Counter(scene.seed for scene in scenes)
    seed, n = counts.most_common(1)[0] if counts else (0, 0)
    if n > 1:
        raise InputError(
            "Scenes to write", "a seed of its own for each", f"{n} scenes with seed {seed}",
            "Write the splits to different folders.",
        )  # fmt: skip


def replace_text(path: Path, text: str) -> None:
    """Write a text file that appears only when it is complete."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)

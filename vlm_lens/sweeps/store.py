"""A sweep's finished conditions on disk, so that one that was stopped goes on where it stood."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from vlm_lens.errors import InputError

SPEC = "spec.json"


class Store:
    """A folder with what was asked and, part by part, what was found. Nothing in it is code.

    Args:
        folder: made where there is none.
        spec: what was asked: model, inputs, conditions, readings.

    Raises:
        InputError: a folder of another sweep, or one that holds something else.
    """

    def __init__(self, folder: str | Path, spec: Mapping[str, Any]) -> None:
        self.folder, self.spec = Path(folder), json.loads(json.dumps(spec))
        path = self.folder / SPEC
        if path.exists():
            self._check(path)
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            rule, advice = "an empty folder, or that of a sweep", "Name a folder that does not exist yet."
            raise InputError(f"Results folder {str(self.folder)!r}", rule, "other files", advice)
        self.folder.mkdir(parents=True, exist_ok=True)
        _written(path, lambda beside: beside.write_text(json.dumps(self.spec, indent=1)))

    def _check(self, path: Path) -> None:
        try:
            held = json.loads(path.read_text())
        except ValueError as error:
            advice = "Take another folder."
            raise InputError(
                f"Results folder {str(self.folder)!r}", "a readable spec.json", str(error), advice
            ) from None
        differing = [name for name in {*self.spec, *held} if self.spec.get(name) != held.get(name)]
        if differing:
            name = sorted(differing)[0]
            raise InputError(
                f"Results folder {str(self.folder)!r} is of another sweep",
                f"{name} {_short(self.spec.get(name))}",
                _short(held.get(name)),
                "Take another folder, or ask for the same sweep.",
            )

    def load(self) -> dict[int, dict[str, Tensor]]:
        """What was found before, by the condition's number.

        Raises:
            InputError: a part that cannot be read.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for path in sorted(self.folder.glob("part-*.safetensors")):
            try:
                tensors = load_file(path)
            except Exception as error:  # safetensors has errors of its own, and of the system
                advice = "Delete this file: its conditions are run again."
                raise InputError(f"Part {str(path)!r} of a sweep", "a readable file", str(error), advice) from error
            for key, value in tensors.items():
                number, name = key.split(".", 1)
                found.setdefault(int(number), {})[name] = value
        return found

    def save(self, found: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Keep what some conditions gave: a file appears whole or not at all."""
        tensors = {
            f"{number}.{name}": value.contiguous().clone()
            for number, values in found.items()
            for name, value in values.items()
        }
        path = self.folder / f"part-{min(found):06d}.safetensors"
        _written(path, lambda beside: save_file(tensors, beside))


def _written(path: Path, write: Any) -> None:
    """A file written beside its place and then moved there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    write(beside)
    os.replace(beside, path)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."

"""A sweep's finished conditions on disk, so that one that was stopped goes on where it stood."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
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
        if self.folder.is_file():
            raise InputError(f"Results folder {str(self.folder)!r}", "a folder", "a file", "Name another one.")
        if self.folder.exists() and any(self.folder.iterdir()):
            rule, advice = "an empty folder, or that of a sweep", "Name a folder that does not exist yet."
            raise InputError(f"Results folder {str(self.folder)!r}", rule, "other files", advice)
        self.folder.mkdir(parents=True, exist_ok=True)
        _written(path, lambda beside: beside.write_text(json.dumps(self.spec, indent=1)))

    def _check(self, path: Path) -> None:
        try:
            held = json.loads(path.read_text())
            is_spec = isinstance(held, dict)
        except ValueError:
            is_spec = False
        if not is_spec:
            advice = "Take another folder."
            raise InputError(f"Results folder {str(self.folder)!r}", f"a readable {SPEC}", "another file", advice)
        differing = [name for name in {*self.spec, *held} if self.spec.get(name) != held.get(name)]
        if differing:
            name = next(one for one in (*self.spec, *held) if one in differing)
            wanted, got = _where_they_differ(self.spec.get(name), held.get(name))
            raise InputError(
                f"Results folder {str(self.folder)!r} is of another sweep",
                f"{name} {wanted}",
                got,
                "Take another folder, or ask for the same sweep.",
            )

    def load(self, numbers: Collection[int], required: Collection[str]) -> dict[int, dict[str, Tensor]]:
        """What was found before, by the condition's number.

        Args:
            numbers: of the conditions that there are.
            required: what must be there of each.

        Raises:
            InputError: a part that cannot be read, or that holds something else.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for path in sorted(self.folder.glob("part-*.safetensors")):
            try:
                tensors = load_file(path)
            except (OSError, SafetensorError) as error:
                raise _damaged(path, "a readable file", error) from error
            part: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                number, _, name = key.partition(".")
                if not number.lstrip("-").isdecimal() or int(number) not in numbers:
                    raise _damaged(path, "what conditions of this sweep gave", key)
                part.setdefault(int(number), {})[name] = value
            if lacking := [number for number, held in part.items() if not set(required) <= set(held)]:
                raise _damaged(path, f"{', '.join(required)} of each condition", f"less of number {lacking[0]}")
            found |= part
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


def _damaged(path: Path, rule: str, got: object) -> InputError:
    advice = "Delete this file: its conditions are run again."
    return InputError(f"Part {str(path)!r} of a sweep", rule, got, advice)


def _written(path: Path, write: Any) -> None:
    """A file written beside its place and then moved there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    write(beside)
    os.replace(beside, path)


def _where_they_differ(wanted: Any, held: Any) -> tuple[str, str]:
    """Two values, or of two long lists the first members that differ."""
    if isinstance(wanted, list) and isinstance(held, list):
        if len(wanted) != len(held):
            return f"of {len(wanted)}", str(len(held))
        wanted, held = next((one, other) for one, other in zip(wanted, held, strict=True) if one != other)
    return json.dumps(wanted), json.dumps(held)

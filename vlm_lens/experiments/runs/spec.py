"""What a run is of: everything that its rows depend on, and where to find it."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.errors import InputError
from vlm_lens.experiments.runs.sources import ModelSource

_LIBRARIES = ("vlm-lens", "torch", "transformers", "numpy", "scipy", "pandas", "pillow")

# Where things lie and where they run: another place is the same run.
_PLACES = {"model": ("path_or_name", "device"), "data": ("source", "name")}


@dataclass(frozen=True)
class RunSpec:
    """What a run is of. It is written to `spec.json`; a folder of another one is refused.

    Attributes:
        experiment: its name.
        preset: "default" or "paper": what the options were chosen from.
        options: every option.
        seed: of everything that is drawn by chance.
        limit: how many examples at most; None for all.
        shard_size: examples in a shard.
        model: `ModelSource`'s fields, and `name`, `hash` of the weights, `preprocessing`.
        data: `source` as given, `name`, `fingerprint`, that of the chosen `examples`, their number `n`, and `steps`,
            with the counts of the filters.
        facts: what the summary knows of the model.
        versions: of the libraries that the numbers come from.
    """

    experiment: str
    preset: str
    options: Mapping[str, Any]
    seed: int
    limit: int | None
    shard_size: int
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def source(self) -> ModelSource:
        """Where the model comes from."""
        return ModelSource(**{name: self.model[name] for name in ("path_or_name", "revision", "dtype", "device")})

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return -(-int(self.data["n"]) // self.shard_size)

    def examples_of(self, shard: int) -> range:
        """The numbers of a shard's examples."""
        return range(shard * self.shard_size, min(int(self.data["n"]), (shard + 1) * self.shard_size))

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this run and no other: all but the places of files and the device."""
        told = json.loads(self.to_json())
        for name, places in _PLACES.items():
            told[name] = {key: value for key, value in told[name].items() if key not in places}
        return dict(told)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the identity."""
        return fingerprint_of(json.dumps(self.identity, sort_keys=True))

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1, default=_plain)

    @classmethod
    def from_json(cls, text: str) -> "RunSpec":
        """As it was written.

        Raises:
            InputError: it is no specification.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError("spec.json", "the specification of a run", repr(error)) from None

    def check_is(self, other: "RunSpec", folder: object) -> None:
        """Raise where a folder holds another run.

        Raises:
            InputError: with every value that differs.
        """
        mine, found = _flat(self.identity), _flat(other.identity)
        differing = [key for key in dict.fromkeys([*mine, *found]) if mine.get(key) != found.get(key)]
        if differing:
            told = "; ".join(f"{key}: {_short(found.get(key))}, now {_short(mine.get(key))}" for key in differing[:6])
            more = f"; and {len(differing) - 6} more" if len(differing) > 6 else ""
            advice = "Name another folder with --out, or call it as before to go on."
            raise InputError(f"Folder {folder} holds another run", "the same specification", told + more, advice)


@cache
def versions() -> Mapping[str, str]:
    """The versions of the libraries that the numbers come from."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else str(value)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    found: dict[str, Any] = {}
    for key, one in value.items():
        found |= _flat(one, f"{name}.{key}" if name else str(key))
    return found


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) < 60 else told[:57] + "..."

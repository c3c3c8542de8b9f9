"""The experiments on the bundled model and scenes: which data, and which options differ from the preset's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Reproduced:
    """A run of `make reproduce`.

    Attributes:
        experiment: its name.
        data: which scenes.
        options: what differs from the default preset, and why stands in `told`.
        told: why these data and options.
    """

    experiment: str
    data: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    told: str = ""

    @property
    def command(self) -> str:
        """The same on a command line."""
        chosen = "".join(f" --set {name}={_written(value)}" for name, value in self.options.items())
        return f"python -m vlm_lens run {self.experiment} --data {self.data}{chosen} --out runs/{self.experiment}"


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    told = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{told}"' if " " in told else told


RUNS: tuple[Reproduced, ...] = (Reproduced("attention-blocking", "scenes,n=150,surfaces=true"),)

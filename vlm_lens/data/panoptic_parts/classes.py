"""The twenty classes with instances of Pascal Panoptic Parts, and what their part ids mean.

The numbers stand in `classes.json`: for each class its semantic id, the parts as the dataset has them (193 in all), the
same with left and right, front and back, upper and lower in one, and for seven classes the parts of the paper.

Source: the dataset's own tables (https://github.com/pmeletis/panoptic_parts); `table_1`: Table 1 and Appendix A of the
part paper. Its parts are those of the dataset after merging, without eyebrows, and without the eyes of birds, cows,
horses and sheep.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from pydantic import TypeAdapter

from vlm_lens.errors import InputError

PartNames = Literal["paper", "merged", "raw"]
"""How parts are named: the paper's, all of them merged, or as the dataset has them ("left front upper leg")."""


@dataclass(frozen=True)
class ObjectClass:
    """A class with instances.

    Attributes:
        sid: its semantic id.
        parts: the part ids of each part as the dataset has them; several where a car has several wheels.
        merged: the part ids of each part with left and right, front and back, upper and lower in one.
        table_1: the merged parts that the paper asks for; None for a class that it leaves out.
    """

    sid: int
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    merged: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    table_1: tuple[str, ...] | None = None

    def part_ids(self, names: str) -> Mapping[str, tuple[int, ...]]:
        """The part ids of each part; under `paper`, a class outside of Table 1 has all its merged parts.

        Raises:
            InputError: `names` is none of `PartNames`.
        """
        if names == "raw":
            return self.parts
        if names == "merged" or (names == "paper" and self.table_1 is None):
            return self.merged
        if names == "paper" and self.table_1 is not None:
            return {part: self.merged[part] for part in self.table_1}
        raise InputError("Names of parts", "paper, merged or raw", repr(names))


def _read() -> Mapping[str, ObjectClass]:
    content = (files(__package__) / "classes.json").read_bytes()
    return MappingProxyType(TypeAdapter(dict[str, ObjectClass]).validate_json(content))


CLASSES: Mapping[str, ObjectClass] = _read()
"""By the dataset's name: "aeroplane" (1) to "tvmonitor" (20)."""

NAMES: Mapping[int, str] = MappingProxyType({found.sid: name for name, found in CLASSES.items()})
"""The name of each semantic id that has instances; larger ids are stuff: sky, grass, a cup."""

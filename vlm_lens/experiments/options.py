"""What can be chosen about an experiment, and what the two presets choose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vlm_lens.errors import InputError

PRESETS = ("default", "paper")
Own = TypeVar("Own", bound="Options")


def option(
    default: Any,
    told: str,
    *,
    paper: Any = MISSING,
    quirk: str = "",
    among: Sequence[str] = (),
    least: float | int | None = None,
) -> Any:
    """A field of `Options`.

    Args:
        default: what the default preset takes.
        told: one line for the list of options.
        paper: what the `paper` preset takes, where that is something else.
        quirk: what is odd about the paper's choice, and what the default does about it; needed where there is `paper`.
        among: the texts that it may be; none given, any. It is checked before anything runs.
        least: the least that a number may be, each of several.
    """
    assert (paper is MISSING) == (not quirk), "a choice of the paper's is named, and what is named is chosen"
    paper = default if paper is MISSING else paper
    return field(
        default=default, metadata={"told": told, "paper": paper, "quirk": quirk, "among": tuple(among), "least": least}
    )


@dataclass(frozen=True)
class Options:
    """The base of an experiment's options: a frozen dataclass whose fields are made with `option`.

    Every field is a number, a text, a truth value, None, or a tuple of these, so that a run can write it down.
    """

    @classmethod
    def preset(cls: type[Own], name: str = "default") -> Own:
        """The options of a preset.

        Raises:
            InputError: there is no such preset.
        """
        if name not in PRESETS:
            raise InputError("Preset", " or ".join(PRESETS), repr(name))
        papers = {one.name: one.metadata["paper"] for one in fields(cls)}
        return cls(**papers) if name == "paper" else cls()

    def but(self: Own, **given: Any) -> Own:
        """These options with some others: as values, or as text (a number, true, null, a JSON list, words with commas).

        Raises:
            InputError: an option that does not exist, or a value that it cannot have, with what there is.
        """
        known = {one.name: one for one in fields(self)}
        for name in given:
            if name not in known:
                told = "; ".join(f"{one.name} ({one.metadata['told']})" for one in known.values()) or "none"
                raise InputError(f"Option {name!r}", f"one of: {told}", repr(name))
        read = {name: _read(value, str(known[name].type)) for name, value in given.items()}
        try:
            chosen: Own = TypeAdapter(type(self)).validate_python({**self.to_dict(), **read})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ", ".join(given)
            got = repr(given.get(name, first.get("input")))
            told = known[name].metadata["told"] if name in known else ""
            rule = "as many values" if first["type"] == "missing" else first["msg"].removeprefix("Input should be ")
            raise InputError(f"Option {name!r}", f"{rule} ({told})", got) from None
        chosen._check()
        return chosen

    def _check(self) -> None:
        for one in fields(self):
            value, among, least = getattr(self, one.name), one.metadata["among"], one.metadata["least"]
            for each in value if isinstance(value, tuple) else (value,):
                if among and each not in among:
                    told = f"one of {', '.join(map(repr, among))} ({one.metadata['told']})"
                    raise InputError(f"Option {one.name!r}", told, repr(each))
                if least is not None and each is not None and each < least:
                    raise InputError(f"Option {one.name!r}", f"{least} or more ({one.metadata['told']})", each)

    def to_dict(self) -> dict[str, Any]:
        """Each option by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def quirks(cls) -> Mapping[str, str]:
        """For each option that the paper's preset chooses otherwise, why that is odd."""
        return {one.name: one.metadata["quirk"] for one in fields(cls) if one.metadata["quirk"]}


def _read(value: Any, annotation: str) -> Any:
    """A value as a person types it."""
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        read = value
    is_list = "tuple" in annotation
    if isinstance(read, str):
        return tuple(piece.strip() for piece in read.split(",")) if is_list else read
    if isinstance(read, list):
        return tuple(read)
    if is_list and read is not None:
        return (read,)
    return value if annotation == "<class 'str'>" else read

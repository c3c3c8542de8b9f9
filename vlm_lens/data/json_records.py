"""Records of a JSON file, held against the fields that they must have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from vlm_lens.errors import InputError

Record = TypeVar("Record")


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file.

    Args:
        path: where it lies.
        what: what it is, for the error: "COCO annotations".

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(what, "a file", f"none at {str(path)!r}") from None
    except OSError as error:
        raise InputError(what, "a file that can be read", f"{str(path)!r}: {error.strerror}") from error


def parse_json(content: bytes, parse: Callable[[bytes], Record], path: Path, what: str) -> Record:
    """What a JSON text holds, as a dataclass or a list of them; fields that are not asked for are left out.

    Args:
        content: the text.
        parse: `validate_json` of pydantic's adapter for what it must be.
        path: where it came from, for the error.
        what: what it is, for the error.

    Raises:
        InputError: no JSON, with line and column, or the first field that is missing or of another kind.
    """
    try:
        return parse(content)
    except ValidationError as error:
        raise _told(error, path, what) from None


def _told(error: ValidationError, path: Path, what: str) -> InputError:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return InputError(f"{what} {str(path)!r}", "JSON", first["msg"], "The file is damaged or was cut off.")
    place = ".".join(map(str, first["loc"])) or "the whole"
    return InputError(f"{what} {str(path)!r}", f"at {place}: {first['msg']}", _short(first.get("input")))


def _short(value: Any, n_characters: int = 80) -> str:
    told = repr(value)
    return told if len(told) <= n_characters else f"{told[:n_characters]}..."

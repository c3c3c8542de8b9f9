"""Records of a JSON file, held against the fields that they must have."""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def parse_json(content: bytes, parse: Callable[[Any], Record], path: Path, what: str) -> Record:
    """What a JSON text holds, as a dataclass or a list of them; fields that are not asked for are left out.

    Args:
        content: the text.
        parse: `validate_python` of pydantic's adapter for what it must be.
        path: where it came from, for the error.
        what: what it is, for the error.

    Raises:
        InputError: no JSON, with line and column, or the first field that is missing or of another kind.
    """
    try:
        # Pydantic's own reader of JSON needs 5 GB for the largest file of COCO, this one 3.
        with many_objects():
            return parse(json.loads(content))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {str(path)!r}", "JSON", str(error), "The file is damaged or was cut off.") from None
    except ValidationError as error:
        raise _told(error, path, what) from None


@contextmanager
def many_objects() -> Iterator[None]:
    """A place where millions of objects are made and none is thrown away.

    The collector of cycles would walk all of them again and again, for most of the time that COCO's training set takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _told(error: ValidationError, path: Path, what: str) -> InputError:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"])) or "the whole"
    return InputError(f"{what} {str(path)!r}", f"at {place}: {first['msg']}", _short(first.get("input")))


def _short(value: Any, n_characters: int = 80) -> str:
    told = repr(value)
    return told if len(told) <= n_characters else f"{told[:n_characters]}..."

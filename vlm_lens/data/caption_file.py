"""Texts without pictures: COCO's captions, LLaVA's conversations, or plain lines."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from PIL import Image
from pydantic import Field, TypeAdapter

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Example
from vlm_lens.data.json_records import parse_json, read_bytes
from vlm_lens.errors import InputError

WHAT = "Caption file"
ANSWERER = "gpt"
"""Who answers in LLaVA's conversations."""


@dataclass(frozen=True, slots=True)
class _Caption:
    image_id: int | str
    caption: str


@dataclass(frozen=True, slots=True)
class _CocoCaptions:
    annotations: list[_Caption]


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: Annotated[str, Field(validation_alias="from")]
    value: str


@dataclass(frozen=True, slots=True)
class _Conversation:
    conversations: list[_Turn]


_COCO: TypeAdapter[_CocoCaptions] = TypeAdapter(_CocoCaptions)
_LLAVA: TypeAdapter[list[_Conversation]] = TypeAdapter(list[_Conversation])


def read_captions(file: str) -> Dataset:
    """Examples that have captions and no picture.

    Three formats, told by what is in the file: COCO's captions (`{"annotations": [{"image_id", "caption"}]}`, one
    example for each picture), LLaVA's conversations (`[{"conversations": [{"from": "gpt", "value"}]}]`, one example for
    each, its answers as captions), and plain text with a caption in each line.

    Args:
        file: where it lies; `.json` is read as JSON, all else as lines.

    Raises:
        InputError: no such file, no JSON, another layout, or no caption in it.
    """
    path = Path(file)
    content = read_bytes(path, WHAT)
    texts = _of_json(content, path) if path.suffix.lower() == ".json" else _of_lines(content, path)
    examples = tuple(
        Example(name, partial(_no_picture, name), captions=captions) for name, captions in texts if captions
    )
    if not examples:
        raise InputError(f"{WHAT} {file!r}", "at least one caption", "none")
    return Dataset(f"captions {file}", hashlib.sha256(content).hexdigest()[:16], examples)


def _of_json(content: bytes, path: Path) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Names and captions of a file in COCO's or in LLaVA's format."""

    def parsed(read: Any) -> Any:
        return (_LLAVA if isinstance(read, list) else _COCO).validate_python(read)

    found = parse_json(content, parsed, path, WHAT)
    return _of_coco(found) if isinstance(found, _CocoCaptions) else _of_llava(found)


def _of_coco(found: _CocoCaptions) -> Iterable[tuple[str, tuple[str, ...]]]:
    captions: dict[str, list[str]] = {}
    for one in found.annotations:
        captions.setdefault(str(one.image_id), []).append(one.caption.strip())
    return ((name, tuple(said)) for name, said in captions.items())


def _of_llava(found: list[_Conversation]) -> Iterator[tuple[str, tuple[str, ...]]]:
    # The ids of the instruction data are not unique: one picture is talked about more than once.
    for number, one in enumerate(found):
        yield str(number), tuple(turn.value for turn in one.conversations if turn.speaker == ANSWERER)


def _of_lines(content: bytes, path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{WHAT} {str(path)!r}", "text in UTF-8", str(error)) from None
    return ((str(number), (line.strip(),)) for number, line in enumerate(lines, start=1) if line.strip())


def _no_picture(name: str) -> Image.Image:
    raise InputError(f"Picture of caption {name!r}", "data with pictures", "captions alone")

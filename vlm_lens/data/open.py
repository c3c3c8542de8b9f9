"""A dataset by its format and place, as it is written on a command line."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from vlm_lens.data.caption_file import read_captions
from vlm_lens.data.coco import read_coco
from vlm_lens.data.dataset import Dataset
from vlm_lens.data.hub import read_hub
from vlm_lens.data.masked_pictures import read_masked_pictures
from vlm_lens.data.mme import read_mme
from vlm_lens.data.ovparts import read_ovparts
from vlm_lens.data.panoptic_parts import read_panoptic_parts
from vlm_lens.data.picture_folder import read_pictures
from vlm_lens.data.scenes import read_scenes
from vlm_lens.errors import InputError

READERS: Mapping[str, Callable[..., Dataset]] = {
    "scenes": read_scenes,
    "coco": read_coco,
    "pictures": read_pictures,
    "masks": read_masked_pictures,
    "panoptic-parts": read_panoptic_parts,
    "ovparts": read_ovparts,
    "mme": read_mme,
    "hub": read_hub,
    "captions": read_captions,
}
"""The formats. A reader's first parameter is where the data lie; the bundled scenes lie nowhere."""


def open_data(source: str) -> Dataset:
    """A dataset from one line: `FORMAT`, `FORMAT:PLACE`, each with `,name=value` for the reader's other arguments.

    Example:
        >>> len(open_data("scenes,n=3,surfaces=true"))
        3

    Raises:
        InputError: a format or argument that does not exist, with those that do; and what the reader raises.
    """
    head, *rest = source.split(",")
    name, _, place = head.partition(":")
    if name not in READERS:
        advice = "Write FORMAT:FOLDER,name=value,... such as coco:/data/coco,split=val2017."
        raise InputError(f"Data {source!r}", f"one of the formats {', '.join(READERS)}", repr(name), advice)
    reader = READERS[name]
    known = list(inspect.signature(reader).parameters)
    given: dict[str, Any] = {known[0]: place} if place else {}
    for piece in rest:
        key, equals, value = piece.partition("=")
        if key not in known or not equals:
            raise InputError(f"Data {source!r}", f"arguments among {', '.join(known)}", repr(piece))
        given[key] = _read(value)
    try:
        # Pydantic says which argument is of another kind, and turns "3" into 3 where a number is asked for.
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(reader)(**given)
    except ValidationError as error:
        first = error.errors()[0]
        argument = ".".join(map(str, first["loc"]))
        if first["type"] == "missing_argument":
            advice = f"Write {name}:FOLDER, with ,name=value for other arguments."
            raise InputError(f"Data {source!r}", f"a place ({argument})", "none", advice) from None
        rule = f"{argument}: {first['msg'].removeprefix('Input should be ')}"
        raise InputError(f"Data {source!r}", rule, repr(first.get("input"))) from None


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value

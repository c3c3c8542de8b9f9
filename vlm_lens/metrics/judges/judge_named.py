"""A judge as it is written on a command line."""

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from vlm_lens.errors import InputError
from vlm_lens.metrics.judges.chat import ChatJudge
from vlm_lens.metrics.judges.judge import Judge
from vlm_lens.metrics.judges.object_list import ObjectListJudge

JUDGES: Mapping[str, type[Judge]] = {"objects": ObjectListJudge, "chat": ChatJudge}


def judge_named(text: str) -> Judge:
    """A judge from one line: `objects`, or `chat:MODEL@ADDRESS`, each with `,name=value` for its other settings.

    Without an address the model is OpenAI's own.

    Example:
        >>> judge_named("chat:llama-3@http://localhost:8000/v1,api_key_env=null").base_url
        'http://localhost:8000/v1'

    Raises:
        InputError: a judge or setting that does not exist, with those that do; and what the judge raises.
    """
    head, *rest = re.split(r",(?![^\[]*\])", text)  # a comma inside of [ ] parts numbers
    name, _, place = head.partition(":")
    advice = "Write objects, or chat:MODEL@ADDRESS such as chat:llama-3@http://localhost:8000/v1,timeout=120."
    if name not in JUDGES or (place and name == "objects"):
        raise InputError(f"Judge {head!r}", f"one of {', '.join(JUDGES)}", repr(head), advice)
    given: dict[str, Any] = {}
    if name == "chat":
        # Names of models hold "@" and ":" too; the address is what follows the last "@http".
        model, at, address = place.rpartition("@http")
        given = {"model": model, "base_url": f"http{address}"} if at else {"model": place}
        if not given["model"]:
            raise InputError(f"Judge {head!r}", "the name of a model", "none", advice)
    known = [one for one in inspect.signature(JUDGES[name]).parameters if one not in given]
    for piece in rest:
        key, equals, value = piece.partition("=")
        if key not in known or not equals:
            raise InputError(f"Judge {head!r}", f"settings among {', '.join(known)}", repr(key), advice)
        given[key] = _read(head, key, value, get_type_hints(JUDGES[name])[key])
    return JUDGES[name](**given)


def _read(judge: str, name: str, value: str, kind: Any) -> Any:
    """A setting as a person types it: a number, true, null, a list in brackets, or a word."""
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        read = value
    try:
        return TypeAdapter(kind).validate_python(read)
    except ValidationError as error:
        raise InputError(f"Judge {judge!r}", f"{name}: {error.errors()[0]['msg']}", repr(value)) from None

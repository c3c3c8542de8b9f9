"""A hash of contents: the same for equal values in every process, for specs and caches on disk."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens.errors import InputError

_PLAIN = (str, int, float, bool, type(None), bytes, Fraction)
_NOT_CONTENT = ("name",)


def fingerprint_of(value: Any) -> str:
    """16 hexadecimal digits of what a value says; the `name` of a dataclass is not part of that.

    Raises:
        InputError: for a value whose contents cannot be told, such as a function without a name.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


def _parts(value: Any) -> Iterable[bytes]:
    """The bytes that say what a value is, piece by piece."""
    yield _kind(value)
    if isinstance(value, _PLAIN):
        yield repr(value).encode()
    elif isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        yield repr((str(plain.dtype), tuple(plain.shape))).encode()
        yield plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    elif isinstance(value, np.ndarray | np.generic):
        yield repr((str(value.dtype), value.shape)).encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, slice):
        yield repr(value).encode()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, set | frozenset):
        yield from sorted(fingerprint_of(member).encode() for member in value)
    elif isinstance(value, list | tuple | range):
        for member in value:
            yield from _parts(member)
    elif hasattr(value, "fingerprint_parts"):
        yield from _parts(value.fingerprint_parts())
    elif is_dataclass(value):
        for one in fields(value):
            if one.name not in _NOT_CONTENT:
                yield one.name.encode()
                yield from _parts(getattr(value, one.name))
    elif isinstance(value, Enum | Path | torch.dtype | torch.device | type):
        yield str(value).encode()
    elif callable(value) and hasattr(value, "__qualname__") and "<" not in value.__qualname__:
        yield f"{value.__module__}.{value.__qualname__}".encode()
    else:
        advice = "Give it a method fingerprint_parts() that returns plain values, or use a function of a module."
        raise InputError("Fingerprint failed", "numbers, texts, tensors, or dataclasses of these", repr(value), advice)


def _kind(value: Any) -> bytes:
    """Lists, tuples and ranges say the same, and so do tensors wherever they lie."""
    if isinstance(value, list | tuple | range):
        return b"sequence"
    if isinstance(value, Tensor):
        return b"tensor"
    return f"{type(value).__module__}.{type(value).__qualname__}".encode()

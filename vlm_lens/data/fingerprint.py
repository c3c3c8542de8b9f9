"""Which data: told by contents, not by where they lie."""

import hashlib
import json
from typing import Any


def fingerprint_of(known: Any) -> str:
    """16 hexadecimal digits of anything that JSON can write.

    >>> fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

"""Answers of language models on disk, by what was asked of which model."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm_lens.errors import JudgeError
from vlm_lens.metrics.judges.chat.libraries import chat_library


def default_folder() -> Path:
    """`vlm_lens/chat` in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlm_lens" / "chat"


def key_of(asked: Any) -> str:
    """What an answer is kept under: a hash of the model, where it is, its settings and the messages."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def remembered(folder: Path, key: str) -> str | None:
    """The answer that is kept under a key; None where there is none.

    Raises:
        JudgeError: a folder that cannot be read.
    """
    with _opened(folder) as cache:
        found = cache.get(key)
        return found if isinstance(found, str) else None


def remember(folder: Path, key: str, answer: str) -> None:
    """Keeps an answer; processes may do so at once.

    Raises:
        JudgeError: a folder that cannot be written: the disk is full, say.
    """
    with _opened(folder) as cache:
        cache.set(key, answer)


def forget(folder: Path, keys: list[str]) -> None:
    """Drops answers."""
    with _opened(folder) as cache:
        for key in keys:
            cache.delete(key)


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    diskcache = chat_library("diskcache")
    advice = "Free some room, or name another one with cache_folder=; None keeps no answers."
    try:
        # Answers are kept as JSON: to read a pickle is to run it. Nothing is thrown away to make room.
        with diskcache.Cache(str(folder), disk=diskcache.JSONDisk, eviction_policy="none") as cache:
            yield cache
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        raise JudgeError(
            "Answers on disk", "a folder that can be read and written", f"{folder}: {error}", advice
        ) from None

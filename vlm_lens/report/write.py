"""A file that is either the old one or the new one, never a half."""

import os
import tempfile
from pathlib import Path

from vlm_lens.errors import InputError


def write_atomically(path: Path, content: str) -> Path:
    """Writes `content` beside `path`, then puts it in place in one step.

    An interruption before that step leaves whatever stood at `path` as it was, and no remains.

    Raises:
        InputError: `path` is a folder, or its folder cannot be written to.
    """
    if path.is_dir():
        raise InputError("Report path", "a file", f"the folder {path}", "Name a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(
            "Report path", "a folder that can be written to", f"{path.parent} ({error.strerror})"
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path

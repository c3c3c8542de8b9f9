"""A plain folder of pictures, as a dataset without annotations: for means over many pictures."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.picture_files import ENDINGS
from vlm_lens.errors import InputError
from vlm_lens.inputs.images import open_image

PICTURE_ENDINGS = (*ENDINGS, ".tif", ".tiff")


def read_pictures(folder: str | Path) -> Dataset:
    """The pictures in a folder and in the folders below it, sorted by name.

    No picture is opened before it is asked for, so an example has no size. It is named by its path below the folder:
    "n01440764/ILSVRC2012_val_00000293.JPEG". Hidden files, and files that do not end as pictures do, are left alone.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("Folder of pictures", "a folder", f"none at {str(folder)!r}")
    # Names compare the same on every machine, which paths do not.
    found = sorted(_pictures_below(str(folder), ""))
    examples = tuple(Example(name, partial(open_image, folder / name)) for name, _ in found)
    if not examples:
        expected = f"files that end in {', '.join(PICTURE_ENDINGS)}"
        raise InputError(f"Folder of pictures {str(folder)!r}", expected, "none")
    return Dataset(f"pictures {folder}", fingerprint_of(found), examples)


def _pictures_below(folder: str, above: str) -> Iterator[tuple[str, int]]:
    """The name and the bytes of each picture."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{above}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _pictures_below(entry.path, f"{name}/")
            elif entry.name.lower().endswith(PICTURE_ENDINGS):
                yield name, entry.stat().st_size

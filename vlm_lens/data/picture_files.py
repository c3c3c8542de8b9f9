"""Pictures and maps of numbers in files: found by their stems, opened with errors that name them."""

import io
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from PIL import Image, UnidentifiedImageError

from vlm_lens.errors import InputError
from vlm_lens.inputs.images import open_image

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""How the names of pictures end, in small or capital letters."""

_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)
"""EXIF's tag, and its values that turn a picture by a quarter."""

_INTEGER_MODES = ("L", "P", "I", "I;16", "I;16B", "1")


def pictures_in(folder: Path, endings: tuple[str, ...] = ENDINGS) -> Mapping[str, Path]:
    """The pictures that lie in a folder, by their names without ending, in the order of these.

    Raises:
        InputError: no such folder, or two pictures that differ in their ending alone.
    """
    if not folder.is_dir():
        raise InputError("Folder of pictures", "a folder", f"none at {str(folder)!r}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in found:
            got = f"{found[path.stem].name} and {path.name}"
            raise InputError(f"Folder of pictures {str(folder)!r}", "each name once", got, "Take one away.")
        found[path.stem] = path
    return found


def read_rgb(path: Path) -> Image.Image:
    """A picture in RGB, upright, as the model's own `prepare` opens it.

    Raises:
        InputError: no such file, or no picture.
    """
    return open_image(path)


def decode_rgb(content: bytes, name: str) -> Image.Image:
    """The same of a picture's bytes.

    Args:
        content: as they would stand in a file.
        name: what they are called in an error.

    Raises:
        InputError: the bytes are no picture.
    """
    with _told(name), Image.open(io.BytesIO(content)) as opened:
        return open_image(opened)


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a picture in pixels, upright, from its header alone.

    Raises:
        InputError: no such file, or no picture.
    """
    with _told(path), Image.open(path) as opened:
        is_lying = opened.getexif().get(_ORIENTATION) in _LYING
        return (opened.width, opened.height) if is_lying else (opened.height, opened.width)


def read_integers(path: Path) -> Integer[np.ndarray, "height width"]:
    """The numbers of a map with one integer a pixel: a TIFF, or a PNG of grey values or palette entries.

    Raises:
        InputError: no such file, a damaged one, or one with several numbers a pixel.
    """
    with _told(path), Image.open(path) as opened:
        mode = opened.mode
        if mode in _INTEGER_MODES:
            return np.asarray(opened)
    raise InputError(f"Map {str(path)!r}", "one whole number a pixel", f"a picture of mode {mode}")


def check_each_has(what: str, missing: str, owners: str, stems: Collection[str], found: Collection[str]) -> None:
    """Refuse a folder where something that comes in pairs stands alone.

    Args:
        what: the folder, for the error.
        missing: what each must have: "picture".
        owners: what they are: "label".
        stems: the names of the owners.
        found: the names of what they must have.

    Raises:
        InputError: with the first that has none, and how many.
    """
    lonely = set(stems) - set(found)
    if lonely:
        raise InputError(what, f"a {missing} for each {owners}", f"none for {min(lonely)!r} ({len(lonely)} in all)")


@contextmanager
def _told(path: Path | str) -> Iterator[None]:
    what = f"Picture {str(path)!r}"
    try:
        # Of a file that was cut off Pillow warns before it fails; the error says all there is to say.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    except InputError:
        raise  # it names the file already, and is a ValueError too
    except FileNotFoundError:
        raise InputError(what, "a file", "none there") from None
    except UnidentifiedImageError:
        raise InputError(what, "a picture", "a file of no format that Pillow knows, or cut off") from None
    except (OSError, SyntaxError, EOFError, ValueError) as error:
        # A decoder says with a SyntaxError that a file of its format is damaged.
        raise InputError(what, "a picture that can be read", str(error), "The file is damaged or cut off.") from error

"""What a report is asked: a picture, a question, perhaps an object in the picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.inputs import ImageLike

LOSSY = ("JPEG", "WEBP", "MPO")


@dataclass(frozen=True, eq=False)
class Question:
    """One case of a report before it is measured.

    Attributes:
        title: what the case is called.
        image: a PIL image, path or array.
        prompt: a question, or a literal prompt with `<image>` in it.
        mask: the object's pixels; None where no object is marked.
        words: single tokens whose lens probability gets a map.
    """

    title: str
    image: ImageLike
    prompt: str
    mask: Bool[np.ndarray, "height width"] | None = None
    words: tuple[str, ...] = ()


def read_mask(path: Path) -> Bool[np.ndarray, "height width"]:
    """A mask from a picture file: every pixel that is not black belongs to the object.

    Raises:
        InputError: no picture, or one whose compression blurs the border between black and not black.
    """
    try:
        with Image.open(path) as picture:
            kind, grey = picture.format, np.asarray(picture.convert("L"))
    except FileNotFoundError as error:
        raise InputError("Mask", "a picture file", f"{path}, which does not exist") from error
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError("Mask", "a picture file", f"{path} ({error})") from error
    if kind in LOSSY:
        raise InputError("Mask", "a lossless picture, PNG for instance", f"{path}, a {kind}", "Save it as PNG.")
    return grey > 0

"""What a report is asked: a picture, a question, perhaps an object in the picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from vlm_lens.errors import InputError
from vlm_lens.inputs import ImageLike
from vlm_lens.inputs.images import open_upright

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
        InputError: no file, a damaged or animated one, or one whose compression blurs the border between black and not
            black.
    """
    try:
        picture = open_upright(path)
    except InputError as error:
        what = error.what.replace("Picture", "Mask")
        raise InputError(what, error.expected, error.got, error.advice) from error
    if picture.format in LOSSY:
        got = f"{path}, a {picture.format}"
        raise InputError("Mask", "a lossless picture, PNG for instance", got, "Save it as PNG.")
    # Pillow's own greys round the darkest colours to black.
    is_grey = len(picture.getbands()) == 1 and picture.mode != "P"
    is_marked = np.asarray(picture if is_grey else picture.convert("RGB")) > 0
    return np.asarray(is_marked if is_grey else is_marked.any(axis=-1))

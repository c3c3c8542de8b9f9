"""Whether a model names an object that it cannot see."""

from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from vlm_lens.data import Annotation
from vlm_lens.data.labels import read_part_words
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.prompts import asked
from vlm_lens.metrics.mentions import mentions

HIDES = ("box", "pixels")


def without(image: Image.Image, mask: Bool[np.ndarray, "height width"], hides: str) -> Image.Image:
    """A picture with an object painted over in the mean colour of all that is left.

    Args:
        image: the picture.
        mask: the object's pixels.
        hides: "box" for the smallest box around them, "pixels" for them alone.

    Raises:
        InputError: something else, or a mask of another size.
    """
    if hides not in HIDES:
        raise InputError("Option 'hides'", " or ".join(map(repr, HIDES)), repr(hides))
    pixels = np.asarray(image.convert("RGB")).copy()
    if mask.shape != pixels.shape[:2]:
        raise InputError("Mask of the hidden object", f"{pixels.shape[0]} x {pixels.shape[1]} pixels", mask.shape)
    hidden = mask
    if hides == "box" and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        hidden = np.zeros_like(mask)
        hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    left = pixels[~hidden] if not hidden.all() else pixels.reshape(-1, 3)
    pixels[hidden] = left.mean(axis=0).round().astype(np.uint8)
    return Image.fromarray(pixels)


def caption_without(context: Context, image: Image.Image, annotation: Annotation) -> str:
    """What the model says of a picture whose object is hidden, decoded greedily."""
    options: Any = context.options
    hidden = without(image, annotation.mask, options.hides)
    inputs = asked(context.vlm, hidden, options.caption_prompt, pad_to_square=options.pad_to_square)
    return str(context.vlm.generate(inputs, max_new_tokens=options.caption_tokens).text)


def names_object(caption: str, category: str) -> bool:
    """Whether a caption names an object, as a whole word, in either number, or by another word for it."""
    return mentions(caption, category, synonyms=read_part_words().of_object(category))

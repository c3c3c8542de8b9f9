"""Masks that the data have, as a segmenter."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.segmenters.segmenter import NO_MASKS, Masks, Segmenter


class GivenMasks(Segmenter):
    """Gives each text the mask that the data have under that name, in any case; a name that they lack has no pixel.

    Which words of a caption mean which name is for the caller to say.
    """

    def segment(
        self, image: Image.Image, texts: Sequence[str], known: Masks = NO_MASKS
    ) -> Float[np.ndarray, "text height width"]:
        """1 on the pixels of each name, 0 elsewhere.

        Raises:
            InputError: no text, or a mask of another size than the picture.
        """
        if not texts:
            raise InputError("Segmentation", "at least one text", "none")
        size = (image.height, image.width)
        scores = np.zeros((len(texts), *size), dtype=np.float32)
        by_name = {name.strip().lower(): mask for name, mask in known.items()}
        for place, text in enumerate(texts):
            mask = by_name.get(text.strip().lower())
            if mask is None:
                continue
            if mask.shape != size:
                raise InputError(f"Mask of {text!r}", f"the size of the picture, {size[0]} x {size[1]}", mask.shape)
            scores[place] = mask
        return scores

    def fingerprint(self) -> str:
        """The same always: the masks are the data's, and those have a fingerprint of their own."""
        return hashlib.sha256(b"given masks").hexdigest()[:16]

    def __repr__(self) -> str:
        return "GivenMasks()"

"""The base of what says where in a picture a text applies."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

Masks = Mapping[str, Bool[np.ndarray, "height width"]]
"""What the data know of a picture: a mask for each name."""

NO_MASKS: Masks = MappingProxyType({})


class Segmenter(ABC):
    """Says where in a picture a text applies.

    To add one: a file beside the others with a subclass, and its name in `named.py`.
    """

    @abstractmethod
    def segment(
        self, image: Image.Image, texts: Sequence[str], known: Masks = NO_MASKS
    ) -> Float[np.ndarray, "text height width"]:
        """How sure each pixel of the picture belongs to what each text names, from 0 to 1.

        Args:
            image: the picture.
            texts: names or phrases: "the helmet".
            known: the masks that the data have of this picture; a model makes its own and leaves them.

        Raises:
            InputError: no text, or what the segmenter itself refuses.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """16 hexadecimal digits of what decides its masks, the same on another machine: for specs and caches."""

"""The pictures of a data set: opened, made pixels, and told from others by a running hash."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.attachments.naming.towers import towers_of
from vlm_lens.errors import InputError
from vlm_lens.inputs import ImageLike, open_image
from vlm_lens.inputs.pictures import process_pictures
from vlm_lens.layout import PatchGrid, PictureLayout, TokenLayout


def fingerprint_after(before: str, item: Any) -> str:
    """The hash of all items so far, from that of those before.

    A file counts by its name and size, so that a resumed estimate need not read again what it has seen; anything else
    by its contents.
    """
    return hashlib.sha256(f"{before} {_contents(item)}".encode()).hexdigest()[:16]


def _contents(item: Any) -> str:
    if isinstance(item, tuple):  # a picture with its prompt
        return " ".join(map(_contents, item))
    if isinstance(item, Path | str) and Path(item).is_file():
        return f"{Path(item).name} {Path(item).stat().st_size}"
    if isinstance(item, Image.Image):
        return fingerprint_of([item.mode, item.size, item.tobytes()])
    return fingerprint_of(dict(item) if hasattr(item, "keys") else item)


def items_of(images: Any) -> Iterable[Any]:
    """Several pictures, or one, one by one: an array of up to three axes is one, and not its rows.

    Raises:
        InputError: for something that holds no pictures.
    """
    if isinstance(images, str | Path | Image.Image) or isinstance(images, np.ndarray | Tensor) and images.ndim < 4:
        return [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        advice = "Inputs are taken in by update(inputs)." if isinstance(images, Mapping) else ""
        raise InputError("Mean of pictures", "pictures, or one", type(images).__name__, advice)
    return images


def pictures_of(inputs: Any) -> PictureLayout | None:
    """The pictures of prepared inputs; None where they are unknown."""
    layout = getattr(inputs, "pictures", getattr(inputs, "layout", None))
    return PictureLayout.of(layout, 0) if isinstance(layout, TokenLayout) else layout


def pixels_of(
    model: Any, images: Sequence[ImageLike], pad_to_square: bool
) -> Float[Tensor, "image channel height width"]:
    """Pictures as the vision tower takes them.

    Raises:
        InputError: a picture that cannot be opened, a model without an image processor.
    """
    image_processor = getattr(getattr(model, "processor", None), "image_processor", None)
    if image_processor is None:
        advice = "Give pixels [image channel height width], or load the model with its processor."
        raise InputError("Pictures cannot be prepared", "a processor", "a model without one", advice)
    patch_size = towers_of(model)["vision"].transformer.cfg.patch_size
    assert patch_size is not None
    pictures = [open_image(image) for image in images]
    processed = process_pictures(
        image_processor, pictures, lambda size: PatchGrid.over(*size, patch_size), pad_to_square=pad_to_square
    )
    return processed.pixel_values

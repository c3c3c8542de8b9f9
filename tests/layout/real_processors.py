"""Image processors of transformers with the settings that geometry must follow."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil, SiglipImageProcessorPil

BILINEAR = Image.Resampling.BILINEAR
BOX = Image.Resampling.BOX

# Pixels come out as they are: no rescaling, no normalisation; a pad to the square is black.
RAW = dict(do_rescale=False, do_normalize=False, image_mean=(0.0, 0.0, 0.0), resample=BILINEAR)


def _clip(shortest: int, height: int, width: int) -> Callable[..., CLIPImageProcessorPil]:
    size, crop = {"shortest_edge": shortest}, {"height": height, "width": width}
    return lambda **more: CLIPImageProcessorPil(size=size, crop_size=crop, **RAW | more)


PROCESSORS: dict[str, Callable[..., object]] = {
    "clip": _clip(28, 28, 28),
    "a crop inside the resized picture": _clip(40, 28, 28),
    "an odd crop": _clip(30, 27, 23),
    "a crop larger than the picture": _clip(20, 29, 28),
    "siglip": lambda **more: SiglipImageProcessorPil(size={"height": 28, "width": 21}, **RAW | more),
    "llava pads to a square": lambda **more: LlavaImageProcessorPil(
        do_pad=True,
        size={"shortest_edge": 28},
        crop_size={"height": 28, "width": 28},
        **RAW | more,
    ),
    "no resize": lambda **more: CLIPImageProcessorPil(
        do_resize=False, crop_size={"height": 28, "width": 28}, **RAW | more
    ),
    "no crop": lambda **more: CLIPImageProcessorPil(do_center_crop=False, size={"shortest_edge": 28}, **RAW | more),
    "shortest and longest edge": lambda **more: CLIPImageProcessorPil(
        do_center_crop=False, size={"shortest_edge": 28, "longest_edge": 50}, **RAW | more
    ),
    "inside a box, then padded": lambda **more: SiglipImageProcessorPil(
        size={"max_height": 28, "max_width": 40},
        do_pad=True,
        pad_size={"height": 28, "width": 40},
        **RAW | more,
    ),
}


def pixels_through(processor: object, picture: np.ndarray) -> np.ndarray:
    """[height width channel] after the processor."""
    out = processor(images=Image.fromarray(picture), return_tensors="np")["pixel_values"]
    return np.moveaxis(np.asarray(out[0]), 0, -1)

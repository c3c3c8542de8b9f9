"""A picture in which an object is hidden by noise."""

import numpy as np
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_patches import patch_boxes
from vlm_lens.layout import Region

KINDS = ("patches", "pixels", "tiled")


def hidden_by_noise(
    image: Image.Image, mask: np.ndarray, found: Region, kind: str, geometry: str, random: np.random.Generator
) -> Image.Image:
    """The picture with uniform noise over an object.

    Args:
        image: RGB.
        mask: the object's pixels `[height width]`.
        found: the object's patches.
        kind: "patches": over all pixels of these, each drawn by itself; "pixels": over those of the object alone;
            "tiled": one patch of noise, repeated over its patches.
        geometry: where patches lie in the picture, see `object_region`.
        random: gives the noise.

    Raises:
        InputError: another kind.
    """
    if kind not in KINDS:
        raise InputError("Option 'noise'", ", ".join(map(repr, KINDS)), repr(kind))
    pixels = np.array(image.convert("RGB"))
    if kind == "pixels":
        pixels[mask] = random.integers(0, 256, (int(mask.sum()), 3), np.uint8)
        return Image.fromarray(pixels)
    boxes = [patch_boxes(found.span, geometry)[patch] for patch in found]
    if kind == "tiled":
        # Exact boxes differ by a pixel where a patch has no whole number of them.
        size = max(bottom - top for top, _, bottom, _ in boxes), max(right - left for _, left, _, right in boxes)
        tile = random.integers(0, 256, (*size, 3), np.uint8)
        for top, left, bottom, right in boxes:
            pixels[top:bottom, left:right] = tile[: bottom - top, : right - left]
        return Image.fromarray(pixels)
    is_hidden = np.zeros(pixels.shape[:2], bool)
    for top, left, bottom, right in boxes:
        is_hidden[top:bottom, left:right] = True
    pixels[is_hidden] = random.integers(0, 256, (int(is_hidden.sum()), 3), np.uint8)
    return Image.fromarray(pixels)

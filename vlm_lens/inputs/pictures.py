"""Pictures through the image processor, each with its patch grid and geometry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs.images import pixel_limit
from vlm_lens.inputs.processors import ImageProcessor
from vlm_lens.layout import ImageSpan, PatchGrid, PixelGeometry, geometry_of
from vlm_lens.layout.pixel_geometry import Size

GridFor = Callable[[Size], PatchGrid]
"""The patch grid that the vision tower lays over pixel values of (height, width)."""


@dataclass(frozen=True)
class ProcessedPictures:
    """Pixel values with what each picture's positions will need to know."""

    pixel_values: Float[Tensor, "image channel height width"]
    grids: tuple[PatchGrid, ...]
    geometries: tuple[PixelGeometry | None, ...]
    fingerprints: tuple[str, ...]

    def span(self, image: int, start: int, n_class_tokens: int) -> ImageSpan:
        """The image's place in a sequence where its positions begin at `start`."""
        return ImageSpan(
            start, self.grids[image], self.geometries[image], n_class_tokens,
            self.fingerprints[image],
        )  # fmt: skip


def process_pictures(
    image_processor: ImageProcessor,
    pictures: Sequence[Image.Image],
    grid_for: GridFor,
    *,
    pad_to_square: bool = False,
) -> ProcessedPictures:
    """All pictures of a batch as pixel values, and the way that each pixel took.

    Raises:
        InputError: a picture so long and thin that its resized copy passes Pillow's limit,
            pictures that end at different sizes, or a processor that did something else than its
            settings say.
    """
    sizes = [(picture.height, picture.width) for picture in pictures]
    geometries = [geometry_of(image_processor, s, pad_to_square=pad_to_square) for s in sizes]
    for size, geometry in zip(sizes, geometries, strict=True):
        _refuse_giants(size, geometry)
    if len({geometry.model_size for geometry in geometries}) > 1:
        raise InputError(
            "Pictures of a batch differ in size after processing", "one size",
            sorted({geometry.model_size for geometry in geometries}),
            "Prepare them one at a time.",
        )  # fmt: skip
    if pad_to_square:
        colour = _mean_colour(image_processor)
        pictures = [_padded_to_square(picture, colour) for picture in pictures]
    processed = image_processor(images=list(pictures), return_tensors="pt")
    pixel_values = torch.as_tensor(processed["pixel_values"])
    expected = (len(pictures), *geometries[0].model_size)
    got = (pixel_values.shape[0], *pixel_values.shape[-2:])
    if pixel_values.ndim != 4 or got != expected:
        raise InputError(
            "Image processor did not follow its settings",
            f"[image channel height width] with (image, height, width) = {expected}",
            list(pixel_values.shape),
        )
    fingerprints = [fingerprint(picture.tobytes(), picture.size) for picture in pictures]
    grids = (grid_for(geometries[0].model_size),) * len(pictures)
    return ProcessedPictures(pixel_values, grids, tuple(geometries), tuple(fingerprints))


def fingerprint(content: bytes, size: Sequence[int]) -> str:
    """A short name for a picture's content and shape."""
    return blake2b(content + repr(tuple(size)).encode(), digest_size=6).hexdigest()


def _refuse_giants(size: Size, geometry: PixelGeometry) -> None:
    height, width = geometry.largest_size
    limit = pixel_limit()
    if limit is not None and height * width > limit:
        raise InputError(
            "Picture is too long and thin",
            f"at most {limit:,} pixels on the way to the model (PIL.Image.MAX_IMAGE_PIXELS)",
            f"{size[0]} x {size[1]}, resized to {height} x {width}",
            "Crop it, or pad it with pad_to_square=True.",
        )


def _mean_colour(image_processor: ImageProcessor) -> tuple[int, int, int]:
    """The processor's mean as a colour, truncated as LLaVA's own code does."""
    mean = getattr(image_processor, "image_mean", None) or (0.0, 0.0, 0.0)
    red, green, blue = (int(channel * 255) for channel in mean)
    return red, green, blue


def _padded_to_square(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    width, height = picture.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square

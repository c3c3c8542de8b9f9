"""Opening a picture, whatever it comes as, into RGB as one would see it."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vlm_lens.errors import InputError

ImageLike = Image.Image | str | Path | np.ndarray | Tensor
"""A picture: PIL, a path, or an array [height width], [height width channel] or channels first."""

# What Pillow's decoders raise on damaged files.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error, zlib.error,
)  # fmt: skip


def open_image(image: ImageLike) -> Image.Image:
    """The picture in RGB, upright, fully decoded.

    The EXIF orientation is applied. Transparency is laid over white, as transformers does it.
    Palette, grey, CMYK and 16-bit pictures are converted. Floats are taken as 0 to 1, integers as
    0 to 255.

    Raises:
        InputError: no such file, an empty, damaged or animated one, one with more pixels than
            Pillow's limit, or an array that is no picture.
    """
    if isinstance(image, np.ndarray | Tensor):
        return _from_array(image)
    if isinstance(image, str | Path):
        return _to_rgb(open_upright(image))
    if isinstance(image, Image.Image):
        return _to_rgb(_upright(image, f"a picture of mode {image.mode}"))
    raise InputError(
        "Picture is not understood",
        "a PIL image, a path, or an array [height width channel]",
        type(image).__name__,
    )


def pixel_limit() -> int | None:
    """The most pixels a picture may have: Pillow's own limit, None where it was lifted."""
    return Image.MAX_IMAGE_PIXELS


def open_upright(path: str | Path) -> Image.Image:
    """The picture of a file, upright and fully decoded, in the mode and with the format it was saved in.

    Raises:
        InputError: no such file, an empty, damaged or animated one, one with more pixels than
            Pillow's limit.
    """
    if str(path).startswith(("http://", "https://")):
        raise InputError("Picture cannot be opened", "a file on disk", repr(str(path)), "Download it first.")
    file = Path(path)
    if not file.is_file():
        raise InputError("Picture cannot be opened", "a file", f"no file at {str(path)!r}")
    if file.stat().st_size == 0:
        raise InputError("Picture cannot be opened", "an image file", f"{file.name!r}, 0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file)
    except Image.DecompressionBombError as error:
        raise _too_large(repr(file.name), str(error)) from error
    except UnidentifiedImageError as error:
        raise InputError(
            "Picture cannot be opened", "a format that Pillow knows", repr(file.name),
            "The file is damaged or no picture.",
        ) from error  # fmt: skip
    except _DECODE_ERRORS as error:
        raise _damaged(repr(file.name), error) from error
    with opened:
        return _upright(opened, repr(file.name))


def _upright(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if min(width, height) < 1:
        raise InputError("Picture is empty", "at least 1 x 1 pixel", f"{height} x {width}")
    limit = pixel_limit()
    if limit is not None and width * height > limit:
        raise _too_large(name, f"{height} x {width} = {height * width:,} pixels")
    try:
        # A photograph in MPO holds its own previews as further frames; its first is the picture.
        n_frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        if n_frames == 1:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except _DECODE_ERRORS as error:
        raise _damaged(name, error) from error
    if n_frames > 1:
        raise InputError(
            "Picture has several frames", "one frame", f"{name} with {n_frames} frames",
            f"Choose one of 0 to {n_frames - 1}: image.seek(frame), then pass image.copy().",
        )  # fmt: skip
    upright.format = image.format
    return upright


def _to_rgb(image: Image.Image) -> Image.Image:
    try:
        return _converted(image)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a mode or a palette that Pillow cannot convert
        raise _damaged(f"a picture of mode {image.mode}", error) from error


def _converted(image: Image.Image) -> Image.Image:
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if has_alpha:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips 16-bit greys to 255.
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return _from_array(np.asarray(image))
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _from_array(array: np.ndarray | Tensor) -> Image.Image:
    is_torch = isinstance(array, Tensor)
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        # numpy has no bfloat16.
        values = (array.float() if array.is_floating_point() else array).numpy()
    else:
        values = array
    shape = "x".join(map(str, values.shape))
    if values.ndim == 2:
        _check_is_no_row(values.shape, shape)
        values = values[..., None]
    if values.ndim != 3 or 0 in values.shape:
        raise InputError(
            "Array is no picture", "[height width], [height width channel] or [channel height width]",
            shape or "a scalar", "Pass several pictures as a list.",
        )  # fmt: skip
    first, last = values.shape[0] in (1, 3, 4), values.shape[-1] in (1, 3, 4)
    if not (first or last):
        raise InputError("Array is no picture", "1, 3 or 4 channels, first or last", shape)
    # Where both could be channels, torch's habit is channels first and numpy's channels last.
    if first and (not last or is_torch):
        values = rearrange(values, "channel height width -> height width channel")
    pixels = _to_bytes(values)
    limit = pixel_limit()
    if limit is not None and pixels.shape[0] * pixels.shape[1] > limit:
        raise _too_large("an array", shape)
    return _to_rgb(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _check_is_no_row(size: tuple[int, ...], shape: str) -> None:
    """A grey picture three or four pixels wide is one row of a colour picture: what iterating over that gives."""
    if size[-1] in (3, 4):
        raise InputError(
            "Array is no picture", "[height width], [height width channel] or [channel height width]",
            f"{shape}, one row of pixels", "Pass the whole picture; a grey one so narrow is [height width 1].",
        )  # fmt: skip


def _to_bytes(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    is_float = values.dtype.kind == "f"
    top = 1 if is_float else 255
    if values.dtype.kind not in "uif" or not (values.min() >= 0 and values.max() <= top):
        raise InputError(
            "Array is no picture", "floats from 0 to 1, or integers from 0 to 255",
            f"{values.dtype} from {values.min()} to {values.max()}",
            "Undo the normalisation, or divide by the largest value.",
        )  # fmt: skip
    return (values * 255).round().astype(np.uint8) if is_float else values.astype(np.uint8)


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        "Picture cannot be decoded", "a whole file", f"{name}: {error}",
        "The file is damaged or cut short.",
    )  # fmt: skip


def _too_large(name: str, got: str) -> InputError:
    return InputError(
        "Picture is too large",
        f"at most {pixel_limit():,} pixels (PIL.Image.MAX_IMAGE_PIXELS)",
        f"{name}: {got}",
        "Crop or shrink it first, or raise the limit if you trust the file.",
    )

"""From an image processor's settings to the geometry it applies.

Understood are the settings that the CLIP, SigLIP and LLaVA image processors of transformers 5
share (their steps run in the order pad to square, resize, centre crop, pad). A setting that moves
pixels and is not known here is refused: a region would silently point at the wrong patches.
"""

from collections.abc import Mapping

from vlm_lens.errors import UnsupportedModelError
from vlm_lens.layout.pixel_geometry import PixelGeometry, Resize, Size, Step, Window

_SIZE_KEYS = (
    "height", "width", "shortest_edge", "longest_edge",
    "max_height", "max_width", "min_pixels", "max_pixels",
)  # fmt: skip
# Settings that move no pixel, or that are read below.
_KNOWN_SWITCHES = frozenset("do_resize do_center_crop do_pad do_rescale do_normalize do_convert_rgb".split())
_KNOWN_SETTINGS = _KNOWN_SWITCHES | frozenset(
    """size crop_size pad_size default_to_square resample rescale_factor image_mean image_std
    data_format input_data_format device return_tensors disable_grouping image_seq_length
    """.split()
)


def geometry_of(image_processor: object, image_size: Size, *, pad_to_square: bool = False) -> PixelGeometry:
    """The steps that an image processor applies to a picture of (height, width).

    Args:
        image_processor: any object with the settings of transformers' image processors.
        image_size: (height, width) of the original picture.
        pad_to_square: the picture is padded to a square, centred, before the processor sees it,
            as LLaVA's own code does with the mean colour.

    Raises:
        UnsupportedModelError: a setting that moves pixels and is not understood.
    """
    _refuse_unknown(image_processor)
    steps: list[Step] = []
    size = image_size
    has_own_square = pads_to_square(image_processor)
    if pad_to_square or has_own_square:
        size = _append(steps, size, _square(size))
    if _get(image_processor, "do_resize"):
        target = _resized(size, _size_of(image_processor, "size"), image_processor)
        size = _append(steps, size, Resize(*target))
    if _get(image_processor, "do_center_crop"):
        crop = _size_of(image_processor, "crop_size")
        if not (crop.get("height") and crop.get("width")):
            raise _unknown(image_processor, "crop_size with height and width", crop)
        size = _append(steps, size, _centre(size, crop, image_processor))
    if _get(image_processor, "do_pad") and not has_own_square:
        _append(steps, size, _bottom_right_pad(size, image_processor))
    return PixelGeometry(image_size, tuple(steps))


def pads_to_square(image_processor: object) -> bool:
    """Whether an image processor pads every picture to a square by itself, as that of LLaVA can."""
    return bool(_get(image_processor, "do_pad")) and hasattr(image_processor, "pad_to_square")


def _append(steps: list[Step], size: Size, step: Step) -> Size:
    """Add a step unless it changes nothing; the size after it."""
    new_size = (step.height, step.width)
    moves = isinstance(step, Window) and (step.top, step.left) != (0, 0)
    if new_size != size or moves:
        steps.append(step)
    return new_size


def _square(size: Size) -> Window:
    side = max(size)
    return Window(-((side - size[0]) // 2), -((side - size[1]) // 2), side, side)


def _resized(size: Size, target: dict[str, int], image_processor: object) -> Size:
    """The size after a resize; the truncations are those of transformers, in its order."""
    height, width = size
    keys = set(target)
    if keys == {"shortest_edge"}:
        short, long = min(size), max(size)
        new_short = target["shortest_edge"]
        new_long = int(new_short * long / short)
        return (new_long, new_short) if width <= height else (new_short, new_long)
    if keys == {"shortest_edge", "longest_edge"}:
        return _between(size, target["shortest_edge"], target["longest_edge"])
    if keys == {"max_height", "max_width"}:
        scale = min(target["max_height"] / height, target["max_width"] / width)
        return int(height * scale), int(width * scale)
    if keys == {"height", "width"}:
        return target["height"], target["width"]
    raise _unknown(
        image_processor,
        "size as shortest_edge (with or without longest_edge), max_height and max_width, or height and width",
        target,
    )


def _between(size: Size, shortest: int, longest: int) -> Size:
    """The shortest edge at `shortest`, unless the longest would then exceed `longest`."""
    height, width = size
    low, high = float(min(size)), float(max(size))
    raw: float = shortest
    if high / low * shortest > longest:
        raw = longest * low / high
    short = int(round(raw))
    if (height <= width and height == short) or (width <= height and width == short):
        return size
    if width < height:
        return int(raw * height / width), short
    return short, int(raw * width / height)


def _centre(size: Size, crop: dict[str, int], image_processor: object) -> Window:
    height, width = crop["height"], crop["width"]
    is_torchvision = _get(image_processor, "backend") == "torchvision"

    def start(have: int, want: int) -> int:
        # Where the padding is odd, the two backends put the spare pixel on opposite sides.
        if have < want and is_torchvision:
            return -((want - have) // 2)
        return (have - want) // 2

    return Window(start(size[0], height), start(size[1], width), height, width)


def _bottom_right_pad(size: Size, image_processor: object) -> Window:
    pad = _size_of(image_processor, "pad_size")
    if pad.get("height") and pad.get("width"):
        return Window(0, 0, pad["height"], pad["width"])
    target = _size_of(image_processor, "crop_size") or _size_of(image_processor, "size")
    if (target.get("height"), target.get("width")) == size:
        return Window(0, 0, *size)
    raise _unknown(image_processor, "do_pad with a pad_size, or pictures already of one size", pad or None)


def _get(image_processor: object, name: str) -> object:
    return getattr(image_processor, name, None)


def _size_of(image_processor: object, name: str) -> dict[str, int]:
    """A size setting as its given entries; {} where it is not set."""
    size = _get(image_processor, name)
    if size is None:
        return {}
    if isinstance(size, int):
        raise _unknown(image_processor, f"{name} with named edges", size)
    if isinstance(size, Mapping):
        entries = dict(size)
    else:
        entries = {key: getattr(size, key, None) for key in _SIZE_KEYS}
    return {key: int(value) for key, value in entries.items() if value is not None}


def _refuse_unknown(image_processor: object) -> None:
    names = {name for name in dir(image_processor) if name.startswith("do_")}
    names |= set(getattr(image_processor, "_valid_kwargs_names", ()))
    for name in sorted(names - _KNOWN_SETTINGS):
        value = _get(image_processor, name)
        if value is not None and value is not False and not callable(value):
            raise _unknown(image_processor, "only settings that are understood", f"{name}={value}")


def _unknown(image_processor: object, expected: str, got: object) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Geometry of {type(image_processor).__name__} is not known",
        expected,
        got,
        "Prepare the picture yourself and pass patch masks, or set the processor's size, crop_size and pad_size.",
    )

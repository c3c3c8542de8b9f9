"""A folder of pictures and a folder of masks, each mask one object of the picture with its name."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.picture_files import pictures_in, size_of
from vlm_lens.data.picture_folder import PICTURE_ENDINGS
from vlm_lens.errors import InputError
from vlm_lens.inputs.images import open_image, open_upright

LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
"""How masks end: a format that loses nothing keeps them at two values."""


Mask = Bool[np.ndarray, "height width"]


def read_masked_pictures(images: str | Path, masks: str | Path | None = None, category: str | None = None) -> Dataset:
    """Pictures with objects whose pixels somebody marked, one file each.

    A mask is black off the object and has one other value on it. It goes to the picture with its name; what it shows
    is said by its name (`7.cat.png` for `7.jpg`, and `7.cat.2.png` for a second cat), by the folder below `masks` that
    it lies in (`cat/7.png`), or by `category`: the first of these that says it. Masks are opened once here, to count
    their pixels and to hold their size against the picture's; of the pictures only the headers are. A picture without
    a mask is an example without annotations.

    Args:
        images: the folder of pictures.
        masks: the folder of masks; None for the folders `images` and `masks` in `images`.
        category: what every mask shows that does not say it.

    Raises:
        InputError: a folder that is missing, two pictures with one name, a mask without a picture or a category, of
            another size, with no object, or with several values on it.
    """
    pictures_at, masks_at = (Path(images) / "images", Path(images) / "masks") if masks is None else (images, masks)
    pictures = pictures_in(Path(pictures_at), PICTURE_ENDINGS)
    if not Path(masks_at).is_dir():
        raise InputError("Folder of masks", "a folder", f"none at {str(masks_at)!r}")
    found: dict[str, list[_Found]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    for one in _masks_below(Path(masks_at), pictures, category):
        if one.picture not in sizes:
            sizes[one.picture] = size_of(pictures[one.picture])
        found[one.picture].append(one)
    known, examples = [], []
    for stem, path in pictures.items():
        annotations, digests = [], []
        for one in found[stem]:
            mask = _read_mask(one.path, sizes[stem])
            digests.append([one.category, hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()])
            annotations.append(Annotation(one.category, float(mask.sum()), partial(_read_mask, one.path, sizes[stem])))
        known.append([path.name, path.stat().st_size, digests])
        examples.append(Example(stem, partial(open_image, path), sizes.get(stem), tuple(annotations)))
    return Dataset(f"masks {pictures_at} {masks_at}", fingerprint_of(known), tuple(examples))


@dataclass(frozen=True)
class _Found:
    """A mask's file, the name of its picture without ending, and what it shows."""

    path: Path
    picture: str
    category: str


def _masks_below(masks: Path, pictures: Mapping[str, Path], category: str | None) -> Iterator[_Found]:
    for path in sorted(masks.rglob("*"), key=lambda one: one.relative_to(masks).as_posix()):
        if path.suffix.lower() not in PICTURE_ENDINGS or path.name.startswith("."):
            continue
        if path.suffix.lower() not in LOSSLESS:
            raise InputError(f"Mask {str(path)!r}", f"one of {', '.join(LOSSLESS)}", path.suffix, "Save it as PNG.")
        picture, said = _split_name(path, pictures)
        below = path.relative_to(masks).parent.name
        shown = said or below or category
        if not shown:
            advice = f"Name it {picture}.CATEGORY{path.suffix}, put it in a folder CATEGORY, or pass category=."
            raise InputError(f"Mask {str(path)!r}", "a category", "none", advice)
        yield _Found(path, picture, shown)


def _split_name(path: Path, pictures: Mapping[str, Path]) -> tuple[str, str]:
    """The picture's name and what the mask's name says behind it, its number left out."""
    pieces = path.stem.split(".")
    for n in range(len(pieces), 0, -1):
        picture = ".".join(pieces[:n])
        if picture in pictures:
            said = pieces[n:]
            return picture, ".".join(said[:-1] if said and said[-1].isdecimal() else said)
    raise InputError(f"Mask {str(path)!r}", "a picture with its name", f"none among {len(pictures)}")


def _read_mask(path: Path, size: tuple[int, int]) -> Mask:
    picture = open_upright(path)
    is_grey = len(picture.getbands()) == 1 and picture.mode != "P"
    # Pillow's own greys round the darkest colours to black.
    values = np.asarray(picture if is_grey else picture.convert("RGB"))
    colors = values.reshape(values.shape[0], values.shape[1], -1).astype(np.int64)
    if colors.shape[:2] != size:
        raise InputError(f"Mask {str(path)!r}", f"{size[0]} x {size[1]} pixels, as its picture", f"{colors.shape[:2]}")
    mask = colors.any(axis=-1)
    marked = colors[mask]
    if not len(marked):
        raise InputError(f"Mask {str(path)!r}", "an object", "black alone", "Take the file away.")
    if (marked != marked[0]).any():
        got = f"{len(np.unique(marked, axis=0))} values that are not black"
        raise InputError(f"Mask {str(path)!r}", "black, and one value on the object", got, "One file for each object.")
    return np.asarray(mask)

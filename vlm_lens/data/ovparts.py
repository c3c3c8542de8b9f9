"""OV-PARTS: Pascal-Part-116, where each pixel has the class of its object and of its part.

Objects are classes, not instances: two cats of a picture are one annotation.

Source: Wei et al. 2023, OV-PARTS: Towards Open-Vocabulary Part Segmentation; names and their order as in its code.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Integer

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.picture_files import check_each_has, pictures_in, read_integers, read_rgb, size_of
from vlm_lens.errors import InputError

_VEHICLE = "wheel, headlight, front, side, back, roof, mirror, license plate, door, window"
_HORNED = "tail, head, eye, torso, neck, leg, ear, muzzle, horn"
_PAWED = "tail, head, eye, torso, neck, leg, nose, paw, ear"

_PARTS = {
    "aeroplane": "body, stern, wing, tail, engine, wheel",
    "bicycle": "wheel, saddle, handlebar, chainwheel, headlight",
    "bird": "wing, tail, head, eye, beak, torso, neck, leg, foot",
    "boat": "",
    "bottle": "body, cap",
    "bus": _VEHICLE,
    "car": _VEHICLE,
    "cat": _PAWED,
    "chair": "",
    "cow": _HORNED,
    "diningtable": "",
    "dog": f"{_PAWED}, muzzle",
    "horse": "tail, head, eye, torso, neck, leg, ear, muzzle, hoof",
    "motorbike": "wheel, saddle, handlebar, headlight",
    "person": "head, eye, torso, neck, leg, foot, nose, ear, eyebrow, mouth, hair, lower arm, upper arm, hand",
    "pottedplant": "pot, plant",
    "sheep": _HORNED,
    "sofa": "",
    "train": "headlight, head, front, side, back, roof, coach",
    "tvmonitor": "screen",
}

OBJECTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(parts.split(", ")) if parts else () for name, parts in _PARTS.items()}
)
"""The 20 classes in the order of their ids, from 0, with their parts: 116 in all, in the order of their ids."""

_STARTS = dict(zip(OBJECTS, accumulate((len(parts) for parts in OBJECTS.values()), initial=0), strict=False))
N_PARTS = sum(len(parts) for parts in OBJECTS.values())

IGNORED = (255, 65_535)
"""What a pixel without class holds in 8 and in 16 bits."""

Ids = Integer[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]

_KINDS = (".png", ".tif", ".tiff")


def read_ovparts(folder: str, split: str = "val", limit: int | None = None) -> Dataset:
    """Pictures with the classes of their objects, and the pixels of each part.

    Where `annotations_detectron2_obj` is there an object has its pixels; without it, those of its parts. Every label is
    read once, to know what it has; pixels are read again when a mask is asked for.

    Args:
        folder: has `images/{split}` and `annotations_detectron2_part/{split}`.
        split: "val" (850 pictures, those of the part paper's Table 2) or "train".
        limit: only the first so many, by name.

    Raises:
        InputError: a picture without label or the other way round, a label of another size, a damaged file, an id that
            is no part's or object's.
    """
    place, what = Path(folder), f"OV-PARTS {folder!r} {split}"
    pictures = pictures_in(place / "images" / split)
    parts = pictures_in(place / "annotations_detectron2_part" / split, _KINDS)
    check_each_has(what, "part label", "picture", pictures, parts)
    check_each_has(what, "picture", "part label", parts, pictures)
    objects: Mapping[str, Path] = {}
    if (place / "annotations_detectron2_obj" / split).is_dir():
        objects = pictures_in(place / "annotations_detectron2_obj" / split, _KINDS)
        check_each_has(what, "object label", "picture", pictures, objects)
    found = [_example(stem, pictures[stem], parts[stem], objects.get(stem)) for stem in list(pictures)[:limit]]
    known = [[one.id, one.size, digest] for one, digest in found]
    return Dataset(f"ovparts {folder} {split}", fingerprint_of(known), tuple(one for one, _ in found))


def _example(stem: str, picture: Path, parts: Path, objects: Path | None) -> tuple[Example, str]:
    """An example and the digest of its labels."""
    size = size_of(picture)
    part_ids = _checked(parts, N_PARTS, size, picture)
    object_ids = None if objects is None else _checked(objects, len(OBJECTS), size, picture)
    annotations = []
    for name in OBJECTS:
        area = float(_pixels_of(name, part_ids, object_ids).sum())
        if area:
            read_mask, read_parts = partial(_mask, name, parts, objects), partial(_part_masks, name, parts)
            annotations.append(Annotation(name, area, read_mask, read_parts))
    labels = [ids for ids in (part_ids, object_ids) if ids is not None]
    digest = hashlib.sha256(b"".join(ids.astype(np.int32).tobytes() for ids in labels)).hexdigest()[:16]
    return Example(stem, partial(read_rgb, picture), size, tuple(annotations)), digest


def _checked(label: Path, n_known: int, size: tuple[int, int], picture: Path) -> Ids:
    """The ids of a label, which are all known and as many as the picture has pixels."""
    ids, what = read_integers(label), f"OV-PARTS label {str(label)!r}"
    if ids.shape != size:
        rule = f"{size[0]} x {size[1]} pixels as {picture.name}"
        raise InputError(what, rule, f"{ids.shape[0]} x {ids.shape[1]}")
    unknown = [one for one in np.unique(ids).tolist() if one not in IGNORED and not 0 <= one < n_known]
    if unknown:
        raise InputError(what, f"ids 0 to {n_known - 1}, 255 or 65535", unknown[0])
    return ids


def _pixels_of(name: str, part_ids: Ids, object_ids: Ids | None) -> Mask:
    in_parts = (part_ids >= _STARTS[name]) & (part_ids < _STARTS[name] + len(OBJECTS[name]))
    return in_parts if object_ids is None else in_parts | (object_ids == list(OBJECTS).index(name))


@lru_cache(maxsize=8)
def _read_ids(label: Path) -> Ids:
    ids = read_integers(label)
    ids.flags.writeable = False
    return ids


def _mask(name: str, parts: Path, objects: Path | None) -> Mask:
    return _pixels_of(name, _read_ids(parts), None if objects is None else _read_ids(objects))


def _part_masks(name: str, parts: Path) -> Mapping[str, Mask]:
    ids = _read_ids(parts)
    masks = {part: ids == number for number, part in enumerate(OBJECTS[name], start=_STARTS[name])}
    return {part: mask for part, mask in masks.items() if mask.any()}

"""Pascal Panoptic Parts from its files: one int32 TIFF for each picture."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.panoptic_parts.classes import CLASSES, NAMES, PartNames
from vlm_lens.data.panoptic_parts.uids import LARGEST_WITHOUT_INSTANCE, split_uids
from vlm_lens.data.picture_files import check_each_has, pictures_in, read_integers, read_rgb, size_of
from vlm_lens.errors import InputError

_VOC = ("JPEGImages", "VOCdevkit/VOC2010/JPEGImages")

Uids = tuple[int, ...]


def read_panoptic_parts(
    folder: str,
    split: str = "validation",
    images: str | None = None,
    parts: PartNames = "paper",
    limit: int | None = None,
) -> Dataset:
    """Objects with instances and the pixels of their parts.

    Every label is read once, to know which objects it has: about 3 ms each. Pixels are read again when a mask is asked
    for; the last few labels are kept.

    A pixel of an object that belongs to none of the parts that are asked for (void, or the eye of a bird under `paper`)
    belongs to the object alone. Pixels with a class but no instance (stuff, and the rims of things) are in no
    annotation.

    Args:
        folder: has `labels/{split}/*.tif`.
        split: "validation" or "training".
        images: the folder of pictures; without it `images/{split}`, else `JPEGImages` of VOC 2010 in the folder.
        parts: "paper" (Table 1 of the part paper), "merged" or "raw"; see `PartNames`.
        limit: only the first so many, by name.

    Raises:
        InputError: a label without picture or of another size; in `images/{split}` also a picture without label; a
            damaged TIFF; a class or part id that the dataset does not have.

    Source: Meletis et al. 2020, arXiv 2004.07944.
    """
    place = Path(folder)
    labels = pictures_in(place / "labels" / split, (".tif", ".tiff"))
    pictures = pictures_in(_picture_folder(place, split, images))
    what = f"Panoptic Parts {folder!r} {split}"
    if images is None and (place / "images" / split).is_dir():
        check_each_has(what, "label", "picture", pictures, labels)
    check_each_has(what, "picture", "label", labels, pictures)
    found = [_example(stem, pictures[stem], labels[stem], parts) for stem in list(labels)[:limit]]
    known = [parts, [[one.id, one.size, digest] for one, digest in found]]
    name = f"panoptic-parts {folder} {split}" + ("" if parts == "paper" else f" parts={parts}")
    return Dataset(name, fingerprint_of(known), tuple(one for one, _ in found))


def _picture_folder(place: Path, split: str, images: str | None) -> Path:
    tried = [Path(images)] if images else [place / "images" / split, *(place / name for name in _VOC)]
    for one in tried:
        if one.is_dir():
            return one
    raise InputError(
        "Pictures of Panoptic Parts", f"a folder {' or '.join(map(str, tried))}", "none", "Give images=FOLDER."
    )


def _example(stem: str, picture: Path, label: Path, names: PartNames) -> tuple[Example, str]:
    """An example and the digest of its label."""
    uids = read_integers(label)
    size = size_of(picture)
    if uids.shape != size:
        rule = f"{size[0]} x {size[1]} pixels as {picture.name}"
        raise InputError(f"Panoptic Parts label {str(label)!r}", rule, f"{uids.shape[0]} x {uids.shape[1]}")
    digest = hashlib.sha256(uids.astype(np.int32).tobytes()).hexdigest()[:16]
    return Example(stem, partial(read_rgb, picture), size, _annotations(label, uids, names)), digest


def _annotations(label: Path, uids: Integer[np.ndarray, "height width"], names: PartNames) -> tuple[Annotation, ...]:
    what = f"Panoptic Parts label {str(label)!r}"
    found, counts = np.unique(uids, return_counts=True)
    ids = np.stack(split_uids(found, what), axis=1)
    objects: dict[tuple[int, int], list[tuple[int, int, int]]] = {}  # (class, instance) -> (part id, uid, pixels)
    for uid, count, (semantic, instance, part) in zip(found.tolist(), counts.tolist(), ids.tolist(), strict=True):
        if uid > LARGEST_WITHOUT_INSTANCE:  # the first instance may have the number 0
            _check_known(what, uid, semantic, part)
            objects.setdefault((semantic, instance), []).append((part, uid, count))
    annotations = []
    for (semantic, _), pixels in sorted(objects.items()):
        wanted = CLASSES[NAMES[semantic]].part_ids(names)
        by_part = {name: tuple(uid for part, uid, _ in pixels if part in parts) for name, parts in wanted.items()}
        read_mask = partial(_mask, label, tuple(uid for _, uid, _ in pixels))
        read_parts = partial(_part_masks, label, {name: uids for name, uids in by_part.items() if uids})
        area = float(sum(count for _, _, count in pixels))
        annotations.append(Annotation(NAMES[semantic], area, read_mask, read_parts))
    return tuple(annotations)


def _check_known(what: str, uid: int, semantic: int, part: int) -> None:
    if semantic not in NAMES:
        advice = "Stuff has none; Cityscapes Panoptic Parts has other classes."
        raise InputError(what, f"instances of classes {min(NAMES)} to {max(NAMES)}", f"uid {uid}", advice)
    known = {one for ids in CLASSES[NAMES[semantic]].parts.values() for one in ids}
    if part and part not in known:
        rule = f"a part id of {NAMES[semantic]}: 0" + (f" to {max(known)}" if known else " alone")
        raise InputError(what, rule, f"{part} in uid {uid}")


@lru_cache(maxsize=4)
def _read_uids(label: Path) -> Integer[np.ndarray, "height width"]:
    uids = read_integers(label)
    uids.flags.writeable = False
    return uids


def _mask(label: Path, uids: Uids) -> Bool[np.ndarray, "height width"]:
    return np.isin(_read_uids(label), uids)


def _part_masks(label: Path, parts: Mapping[str, Uids]) -> Mapping[str, Bool[np.ndarray, "height width"]]:
    return {name: _mask(label, uids) for name, uids in parts.items()}

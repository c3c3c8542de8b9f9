"""The records of COCO's annotation files, and whether they fit each other."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vlm_lens.errors import InputError

Id = int | str
"""COCO's own ids are numbers; files made in its format also have names."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: its file below the folder of pictures, height and width in pixels."""

    id: Id
    file_name: str
    height: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Instance:
    """An annotated object; `segmentation` has one of COCO's three forms (see `segmentation.py`)."""

    image_id: Id
    category_id: Id
    segmentation: Any = None
    area: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    iscrowd: bool = False
    id: Id | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of object."""

    id: Id
    name: str


@dataclass(frozen=True, slots=True)
class Instances:
    """The whole of `instances_*.json`."""

    images: list[Picture]
    annotations: list[Instance]
    categories: list[Category]


@dataclass(frozen=True, slots=True)
class Caption:
    """What somebody said of a picture."""

    image_id: Id
    caption: str


@dataclass(frozen=True, slots=True)
class Captions:
    """What is used of `captions_*.json`."""

    annotations: list[Caption]


def check_fit(found: Instances, path: Path) -> None:
    """Refuse records that speak of pictures or categories which the file does not have.

    Raises:
        InputError: two pictures or categories with one id, an annotation of a picture or category that is not listed, a
            run-length mask of another size than its picture.
    """
    what = f"COCO annotations {str(path)!r}"
    _check_distinct(what, "picture", (one.id for one in found.images))
    _check_distinct(what, "category", (one.id for one in found.categories))
    pictures = {one.id: one for one in found.images}
    categories = {one.id for one in found.categories}
    for number, one in enumerate(found.annotations):
        told = f"annotation {one.id!r}" if one.id is not None else f"the annotation at place {number}"
        if one.image_id not in pictures:
            got = f"{told} of picture {one.image_id!r}, which is not listed"
            n = sum(other.image_id not in pictures for other in found.annotations)
            raise InputError(
                what, "annotations of listed pictures", got, f"List the pictures under `images`; {n} such annotations."
            )
        if one.category_id not in categories:
            got = f"{told} of category {one.category_id!r}, which is not listed"
            raise InputError(what, f"one of the {len(categories)} categories", got, "List it under `categories`.")
        if isinstance(one.segmentation, Mapping):
            _check_size(what, told, one.segmentation, pictures[one.image_id])


def _check_distinct(what: str, kind: str, ids: Iterable[Id]) -> None:
    repeated, n = next(iter(Counter(ids).most_common(1)), (None, 0))
    if n > 1:
        raise InputError(what, f"a {kind} id only once", f"{repeated!r} {n} times")


def _check_size(what: str, told: str, segmentation: Mapping[str, Any], picture: Picture) -> None:
    size = segmentation.get("size")
    if not isinstance(size, list | tuple) or list(size) != [picture.height, picture.width]:
        expected = f"a mask of {picture.height} x {picture.width} pixels, as picture {picture.id!r}"
        raise InputError(what, expected, f"{told} with size {size!r}")

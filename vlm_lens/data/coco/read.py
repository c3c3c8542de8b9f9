"""A COCO folder as a dataset: the JSON is read once, pixels and masks when they are asked for."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from vlm_lens.data.coco.records import Captions, Id, Instance, Instances, Picture, check_fit
from vlm_lens.data.coco.segmentation import decode_mask, mask_area, outlines
from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example, Question
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.json_records import many_objects, parse_json, read_bytes
from vlm_lens.data.question_file import read_questions
from vlm_lens.errors import InputError
from vlm_lens.inputs.images import open_image

_INSTANCES: TypeAdapter[Instances] = TypeAdapter(Instances)
_CAPTIONS: TypeAdapter[Captions] = TypeAdapter(Captions)


def read_coco(
    folder: str | Path,
    split: str = "val2017",
    instances: str | Path | None = None,
    captions: str | Path | None = None,
    questions: str | Path | None = None,
    check: bool = True,
) -> Dataset:
    """Pictures in COCO's detection format with their objects, captions and questions.

    The folder has COCO's own layout (`annotations/instances_val2017.json`, `annotations/captions_val2017.json`,
    `val2017/`), or `instances.json` and, where there are captions, `captions.json` beside `images/`. An example is
    named by its picture's id; a picture without annotations is an example without any. Captions may speak of pictures
    that the instances do not list; those are left out.

    Args:
        folder: where the data lie.
        split: the part.
        instances: another annotation file, below the folder or anywhere.
        captions: another file of captions.
        questions: a file of questions about some of the pictures, see `read_questions`.
        check: whether every picture's file is looked for now. With False, one that is missing is said when it is read.

    Raises:
        InputError: a file that is missing or damaged, records that do not fit each other (see `check_fit`), a picture
            without a file, a question about a picture or category that is not listed.
    """
    folder = Path(folder)
    instances_file = _instances_file(folder, split, instances)
    captions_file = _captions_file(folder, instances_file, split, captions)
    content = read_bytes(instances_file, "COCO annotations")
    known = [_digest(content)]
    found = parse_json(content, _INSTANCES.validate_python, instances_file, "COCO annotations")
    check_fit(found, instances_file)
    said: dict[Id, list[str]] = defaultdict(list)
    if captions_file is not None:
        content = read_bytes(captions_file, "COCO captions")
        known.append(_digest(content))
        for one in parse_json(content, _CAPTIONS.validate_python, captions_file, "COCO captions").annotations:
            said[one.image_id].append(one.caption)
    asked: Mapping[str, tuple[Question, ...]] = {}
    if questions is not None:
        known.append(_digest(read_bytes(folder / questions, "Question file")))
        asked = read_questions(folder / questions)
        _check_questions(asked, found, folder / questions)
    pictures = _picture_folder(folder, split)
    if check:
        _check_files(found, pictures)
    with many_objects():
        examples = _examples(found, pictures, said, asked)
    return Dataset(f"coco {folder} {split}", fingerprint_of(known), examples)


def _examples(
    found: Instances, pictures: Path, said: Mapping[Id, list[str]], asked: Mapping[str, tuple[Question, ...]]
) -> tuple[Example, ...]:
    names = {one.id: one.name for one in found.categories}
    of: dict[Id, list[Instance]] = defaultdict(list)
    for instance in found.annotations:
        of[instance.image_id].append(instance)
    return tuple(
        Example(
            str(one.id),
            partial(open_image, pictures / one.file_name),
            (one.height, one.width),
            tuple(_annotation(instance, names[instance.category_id], one) for instance in of.get(one.id, ())),
            tuple(said.get(one.id, ())),
            asked.get(str(one.id), ()),
        )
        for one in found.images
    )


def _annotation(found: Instance, category: str, picture: Picture) -> Annotation:
    what = f"annotation {found.id!r} of picture {picture.id!r}"
    mask = (found.segmentation, picture.height, picture.width, what)
    area = mask_area(*mask) if found.area is None else found.area
    read_polygons = partial(outlines, found.segmentation, what)
    return Annotation(category, area, partial(decode_mask, *mask), is_crowd=found.iscrowd, read_polygons=read_polygons)


def _instances_file(folder: Path, split: str, given: str | Path | None) -> Path:
    if given is not None:
        return folder / given
    places = [folder / "annotations" / f"instances_{split}.json", folder / "instances.json"]
    for place in places:
        if place.is_file():
            return place
    splits = [one.stem.removeprefix("instances_") for one in sorted(folder.glob("annotations/instances_*.json"))]
    advice = f"It has the splits {', '.join(splits)}." if splits else "Name the file with instances=."
    raise InputError("COCO annotations", f"{places[0]} or {places[1].name} beside it", "neither", advice)


def _captions_file(folder: Path, instances: Path, split: str, given: str | Path | None) -> Path | None:
    if given is not None:
        return folder / given
    places = [instances.with_name(f"captions_{split}.json"), instances.with_name("captions.json")]
    return next((place for place in places if place.is_file()), None)


def _picture_folder(folder: Path, split: str) -> Path:
    places = [folder / split, folder / "images" / split, folder / "images"]
    for place in places:
        if place.is_dir():
            return place
    told = ", ".join(place.relative_to(folder).as_posix() for place in places)
    raise InputError(f"COCO folder {str(folder)!r}", f"pictures in one of {told}", "none of these folders")


def _check_files(found: Instances, pictures: Path) -> None:
    there = {one.name for one in pictures.iterdir()}
    # Asking for each file by itself would cost a call each; only names with a folder need it.
    missing = [
        one
        for one in found.images
        if one.file_name not in there and not ("/" in one.file_name and (pictures / one.file_name).is_file())
    ]
    if missing:
        first = missing[0]
        got = f"none for picture {first.id!r}, {first.file_name!r}; {len(missing)} of {len(found.images)} missing"
        advice = "With check=False a missing picture is said when it is read."
        raise InputError(f"Pictures in {str(pictures)!r}", "a file for each picture that is listed", got, advice)


def _check_questions(asked: Mapping[str, tuple[Question, ...]], found: Instances, path: Path) -> None:
    ids = {str(one.id) for one in found.images}
    categories = {one.name for one in found.categories}
    for key, questions in asked.items():
        if key not in ids:
            raise InputError(f"Question file {str(path)!r}", "questions about listed pictures", f"picture {key!r}")
        unknown = [one.category for one in questions if one.category and one.category not in categories]
        if unknown:
            got = f"{unknown[0]!r} at picture {key!r}"
            raise InputError(f"Question file {str(path)!r}", f"one of the {len(categories)} categories", got)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

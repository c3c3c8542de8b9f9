"""Scenes written as COCO ships its pictures: instances and captions as JSON beside a folder."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as run_length

from vlm_lens.demo.scenes.numbers import COCO_CATEGORIES
from vlm_lens.demo.scenes.scene import Scene, SceneObject
from vlm_lens.demo.scenes.vocabulary import KINDS
from vlm_lens.demo.scenes.written import check_distinct, file_stem, replace_text


def write_coco(
    scenes: Iterable[Scene],
    captions: Iterable[str],
    folder: str | Path,
    split: str = "val2017",
    with_surfaces: bool = True,
) -> None:
    """Write scenes as a COCO folder.

    The folder gets `{split}/000000000007.png` for each scene, `annotations/instances_{split}.json`
    with run-length masks, areas in pixels and boxes as [x, y, width, height] in pixels, and
    `annotations/captions_{split}.json` with one caption a picture. A picture's id is its seed.

    Args:
        scenes: The scenes, all with different seeds.
        captions: One caption for each scene.
        folder: Made where it does not exist.
        split: COCO's name of the part.
        with_surfaces: Whether beds, tables and the like are annotated too.

    Raises:
        InputError: two scenes have one seed.
    """
    folder = Path(folder)
    scenes = list(scenes)
    check_distinct(scenes)
    (folder / split).mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    for scene, caption in zip(scenes, captions, strict=True):
        name = f"{file_stem(scene)}.png"
        Image.fromarray(scene.image).save(folder / split / name)
        height, width, _ = scene.image.shape
        pictures.append({"id": scene.seed, "file_name": name, "height": height, "width": width})
        texts.append({"id": len(texts) + 1, "image_id": scene.seed, "caption": caption})
        found = (*scene.objects, *scene.surfaces) if with_surfaces else scene.objects
        for one in found:
            annotations.append(_annotation(one, scene.seed, len(annotations) + 1))
    info = {"description": "Scenes drawn by code", "version": "1"}
    start = {"info": info, "licenses": [], "images": pictures}
    instances = start | {"annotations": annotations, "categories": _categories(with_surfaces)}
    replace_text(folder / "annotations" / f"instances_{split}.json", json.dumps(instances))
    captioned = start | {"annotations": texts}
    replace_text(folder / "annotations" / f"captions_{split}.json", json.dumps(captioned))


def _categories(with_surfaces: bool) -> list[dict[str, Any]]:
    return [
        {"id": number, "name": name, "supercategory": "object" if name in KINDS else "surface"}
        for name, number in COCO_CATEGORIES.items()
        if with_surfaces or name in KINDS
    ]


def _annotation(found: SceneObject, image_id: int, annotation_id: int) -> dict[str, Any]:
    encoded = run_length.encode(np.asfortranarray(found.mask.astype(np.uint8)))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": COCO_CATEGORIES[found.kind],
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
        "area": float(run_length.area(encoded)),
        "bbox": [float(side) for side in run_length.toBbox(encoded)],
        "iscrowd": 0,
    }

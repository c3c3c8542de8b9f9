"""Scenes on disk, read back with decoders of our own: run lengths by hand, uids digit by digit."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from vlm_lens.demo.scenes import KINDS, PARTS, SURFACES, Scene, draw_scene
from vlm_lens.demo.scenes import numbers as table
from vlm_lens.demo.scenes.coco import write_coco
from vlm_lens.demo.scenes.numbers import COCO_CATEGORIES, PART_IDS, SEMANTIC_IDS
from vlm_lens.demo.scenes.panoptic_parts import encode_uids, write_panoptic_parts
from vlm_lens.demo.text import describe
from vlm_lens.errors import InputError


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, "heldout", require_surface=True) for seed in range(12)]


@pytest.fixture(scope="module")
def coco_folder(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    write_coco(scenes, [describe(scene, Random(0)) for scene in scenes], folder)
    return folder


def decode_run_lengths(counts: str, height: int, width: int) -> np.ndarray:
    """COCO's compressed run lengths, from their definition: 5 bits a character, deltas by two."""
    runs: list[int] = []
    position = 0
    while position < len(counts):
        value, shift, more = 0, 0, True
        while more:
            code = ord(counts[position]) - 48
            value |= (code & 31) << shift
            more = bool(code & 32)
            position, shift = position + 1, shift + 5
            if not more and code & 16:
                value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    return flat.reshape(width, height).T.astype(bool)


def test_coco_masks_boxes_and_areas_are_those_of_the_scenes(scenes: list[Scene], coco_folder: Path) -> None:
    content = json.loads((coco_folder / "annotations" / "instances_val2017.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    for scene in scenes:
        written = [a for a in content["annotations"] if a["image_id"] == scene.seed]
        everything = (*scene.objects, *scene.surfaces)
        assert len(written) == len(everything)
        for annotation, found in zip(written, everything, strict=True):
            assert names[annotation["category_id"]] == found.kind
            height, width = annotation["segmentation"]["size"]
            mask = decode_run_lengths(annotation["segmentation"]["counts"], height, width)
            assert np.array_equal(mask, found.mask)
            assert annotation["area"] == found.mask.sum()
            rows, columns = np.nonzero(found.mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation["bbox"] == [float(side) for side in box]
            assert annotation["iscrowd"] == 0


def test_coco_ids_are_unique_and_pictures_are_those_drawn(scenes: list[Scene], coco_folder: Path) -> None:
    content = json.loads((coco_folder / "annotations" / "instances_val2017.json").read_text())
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert len(set(ids)) == len(ids)
    for scene, picture in zip(scenes, content["images"], strict=True):
        on_disk = Image.open(coco_folder / "val2017" / picture["file_name"])
        assert on_disk.size == (picture["width"], picture["height"])
        assert np.array_equal(np.asarray(on_disk), scene.image)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11
def test_cocos_own_reader_finds_the_captions_and_masks(scenes: list[Scene], coco_folder: Path) -> None:
    captions = COCO(str(coco_folder / "annotations" / "captions_val2017.json"))
    instances = COCO(str(coco_folder / "annotations" / "instances_val2017.json"))
    for scene in scenes:
        [caption] = captions.imgToAnns[scene.seed]
        assert caption["caption"] == describe(scene, Random(0))
        [first, *_] = instances.imgToAnns[scene.seed]
        assert np.array_equal(instances.annToMask(first).astype(bool), scene.objects[0].mask)


def test_surfaces_can_be_left_out_of_coco(scenes: list[Scene], tmp_path: Path) -> None:
    write_coco(scenes[:3], ["", "", ""], tmp_path, split="train2017", with_surfaces=False)
    content = json.loads((tmp_path / "annotations" / "instances_train2017.json").read_text())
    assert len(content["annotations"]) == sum(len(scene.objects) for scene in scenes[:3])
    assert [category["name"] for category in content["categories"]] == list(KINDS)


def test_every_pixel_of_panoptic_parts_says_what_the_scene_says(scenes: list[Scene], tmp_path: Path) -> None:
    write_panoptic_parts(scenes, tmp_path)
    sid_names = {sid: name for name, sid in SEMANTIC_IDS.items()}
    for scene in scenes:
        stem = f"{scene.seed:012d}"
        picture = Image.open(tmp_path / "images" / "validation" / f"{stem}.png")
        assert np.array_equal(np.asarray(picture), scene.image)
        uids = np.array(Image.open(tmp_path / "labels" / "validation" / f"{stem}.tif"), dtype=np.int32)
        everything = {found.kind: found for found in (*scene.objects, *scene.surfaces)}
        seen = {kind: np.zeros_like(scene.label_map, dtype=bool) for kind in everything}
        for uid in np.unique(uids):
            here = uids == uid
            digits = str(uid)
            if uid == 0:
                assert not scene.label_map[here].any()
                continue
            semantic = digits if len(digits) <= 2 else digits[:-3] if len(digits) <= 5 else digits[:-5]
            kind = sid_names[int(semantic)]
            seen[kind] |= here
            if len(digits) > 5:
                pid = int(digits[-2:])
                parts = [part for part, ids in PART_IDS[kind].items() if pid in ids]
                masks = [everything[kind].parts.get(part) for part in parts]
                claimed = np.any([mask for mask in masks if mask is not None], axis=0)
                assert pid == 0 or claimed[here].all()
                assert digits[-5:-2] == "001"
            elif len(digits) > 2:
                assert digits[-3:] == "001"
        for kind, mask in seen.items():
            assert np.array_equal(mask, everything[kind].mask)


def test_the_halves_of_a_leg_make_the_leg_and_the_upper_half_is_above() -> None:
    for seed in range(300):
        scene = draw_scene(seed, n_objects=1)
        [cow] = scene.objects
        if cow.kind == "cow":
            break
    pids = encode_uids(scene) % 100
    for part in ("left front leg", "right back leg"):
        upper, lower = (pids == pid for pid in PART_IDS["cow"][part])
        assert np.array_equal((upper | lower) & cow.mask, cow.parts[part])
        assert np.nonzero(upper)[0].mean() < np.nonzero(lower)[0].mean()


def test_numbers_are_distinct_and_complete() -> None:
    assert set(COCO_CATEGORIES) == set(SEMANTIC_IDS) == {*KINDS, *SURFACES}
    assert sorted(COCO_CATEGORIES.values()) == list(range(1, 21))
    assert len(set(SEMANTIC_IDS.values())) == 20 and max(SEMANTIC_IDS.values()) < 100
    for kind, ids in PART_IDS.items():
        assert set(ids) == set(PARTS[kind])
        flat = [pid for part, pids in ids.items() for pid in pids if (kind, part) != ("cat", "muzzle")]
        assert len(set(flat)) == len(flat) and min(flat) >= 1 and max(flat) < 100


def test_the_page_of_numbers_is_the_table_in_code() -> None:
    page = (Path(table.__file__).parent / "FORMATS.md").read_text(encoding="utf-8")
    for name, number in COCO_CATEGORIES.items():
        ids = PART_IDS.get(name, {})
        parts = ", ".join(f"{part} {'/'.join(map(str, ids[part]))}" for part in PARTS.get(name, ()) if part in ids)
        assert f"| {name} | {number} | {SEMANTIC_IDS[name]} | {parts or '-'} |\n" in page
    assert page.count("\n| ") == 21


def test_scenes_with_one_seed_are_refused(tmp_path: Path) -> None:
    twice = [draw_scene(4), draw_scene(4, "heldout")]
    for write in (lambda: write_coco(twice, ["", ""], tmp_path), lambda: write_panoptic_parts(twice, tmp_path)):
        with pytest.raises(InputError, match="expected a seed of its own for each, got 2 scenes with seed 4"):
            write()
    assert not list(tmp_path.iterdir())

"""COCO folders: the bundled scenes written and read back, and what is wrong with a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import Dataset, open_data, read_scenes
from vlm_lens.data.coco import read_coco
from vlm_lens.data.scenes import FIRST_SEED
from vlm_lens.demo.scenes import draw_scene
from vlm_lens.demo.scenes.coco import write_coco
from vlm_lens.errors import InputError

N_SCENES = 5


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return read_scenes(N_SCENES)


@pytest.fixture(scope="module")
def written(scenes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    drawn = [draw_scene(seed, "heldout") for seed in range(FIRST_SEED, FIRST_SEED + N_SCENES)]
    write_coco(drawn, [one.captions[0] for one in scenes], folder, with_surfaces=False)
    return folder


def test_scenes_written_and_read_are_the_scenes(scenes: Dataset, written: Path) -> None:
    read = read_coco(written)
    assert [one.id for one in read] == [one.id for one in scenes]
    for found, scene in zip(read, scenes, strict=True):
        assert found.size == scene.size
        assert found.captions == scene.captions
        assert np.array_equal(np.asarray(found.image), np.asarray(scene.image))
        assert len(found.annotations) == len(scene.annotations) > 0
        for one, other in zip(found.annotations, scene.annotations, strict=True):
            assert (one.category, one.area, one.is_crowd) == (other.category, other.area, False)
            assert np.array_equal(one.mask, other.mask)


def test_one_line_opens_the_folder(written: Path) -> None:
    opened = open_data(f"coco:{written},split=val2017")
    assert [one.id for one in opened] == [one.id for one in read_coco(written)]


PICTURE = {"id": 7, "file_name": "seven.png", "height": 4, "width": 6}
EMPTY = {"id": 8, "file_name": "eight.png", "height": 2, "width": 2}
SQUARE = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "iscrowd": 0}
CROWD = {"image_id": 7, "category_id": 3, "segmentation": {"counts": [20, 4], "size": [4, 6]}, "iscrowd": 1, "area": 5}
CONTENT = {"images": [PICTURE, EMPTY], "annotations": [SQUARE, CROWD], "categories": [{"id": 3, "name": "cat"}]}


def write(folder: Path, content: Any = CONTENT, pictures: str = "images") -> Path:
    """A folder with `instances.json` beside its pictures."""
    (folder / pictures).mkdir(parents=True)
    Image.new("L", (6, 4), 90).save(folder / pictures / "seven.png")
    Image.new("RGB", (2, 2)).save(folder / pictures / "eight.png")
    (folder / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_instances_beside_a_folder_of_pictures_are_read(tmp_path: Path) -> None:
    seven, eight = read_coco(write(tmp_path))
    assert (seven.id, seven.size, eight.id, eight.size) == ("7", (4, 6), "8", (2, 2))
    assert seven.image.mode == "RGB"
    square, crowd = seven.annotations
    assert [square.category, crowd.category] == ["cat", "cat"]
    assert (square.is_crowd, crowd.is_crowd) == (False, True)
    assert square.mask.sum() == square.area == 4  # the file says no area
    assert (crowd.mask.sum(), crowd.area) == (4, 5)  # the file says another one


def test_the_corners_of_a_polygon_are_kept_and_run_lengths_have_none(tmp_path: Path) -> None:
    polygon, crowd = read_coco(write(tmp_path))[0].annotations
    (corners,) = polygon.polygons
    assert corners.tolist() == [[1, 1], [3, 1], [3, 3], [1, 3]]
    assert crowd.polygons == ()


def test_a_picture_without_annotations_is_an_example_without_any(tmp_path: Path) -> None:
    assert read_coco(write(tmp_path))[1].annotations == ()


def test_captions_of_pictures_that_are_not_listed_are_left_out(tmp_path: Path) -> None:
    said = [
        {"image_id": 7, "caption": "A cat."},
        {"image_id": 99, "caption": "A dog."},
        {"image_id": 7, "caption": "One cat."},
    ]
    write(tmp_path)
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": said}))
    assert [one.captions for one in read_coco(tmp_path)] == [("A cat.", "One cat."), ()]


def test_questions_go_to_their_pictures(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "asked.csv").write_text("image_id,question,answer,category\n7,What is it?,kitten,cat\n")
    seven, eight = read_coco(tmp_path, questions="asked.csv")
    (question,) = seven.questions
    told = (question.text, question.answer, question.task, question.category)
    assert told == ("What is it?", "kitten", "vqa", "cat")
    assert eight.questions == ()


@pytest.mark.parametrize(
    ("row", "expected"), [("9,Q?,A,", "listed pictures, got picture '9'"), ("7,Q?,A,dog", "got 'dog' at picture '7'")]
)
def test_a_question_about_what_is_not_there_is_refused(tmp_path: Path, row: str, expected: str) -> None:
    write(tmp_path)
    (tmp_path / "asked.csv").write_text(f"image_id,question,answer,category\n{row}\n")
    with pytest.raises(InputError, match=expected):
        read_coco(tmp_path, questions="asked.csv")


def test_the_fingerprint_is_of_the_contents_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = write(tmp_path / "here"), write(tmp_path / "there", pictures="val2017")
    other = write(tmp_path / "other", CONTENT | {"annotations": [SQUARE]})
    assert read_coco(here).fingerprint == read_coco(there).fingerprint
    assert read_coco(here).fingerprint != read_coco(other).fingerprint
    before = read_coco(here).fingerprint
    (here / "captions.json").write_text('{"annotations": []}')
    assert read_coco(here).fingerprint != before


def changed(record: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {**record, **fields}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"images": [', "expected JSON, got Expecting value: line 1 column 13"),
        ("", "expected JSON"),
        ("[1, 2]", "at the whole: Input should be a dictionary"),
        ({"images": [], "annotations": []}, "at categories: Field required"),
        (CONTENT | {"images": [changed(PICTURE, height="tall")]}, r"at images\.0\.height: .*got 'tall'"),
        (CONTENT | {"images": [changed(PICTURE, width=0)]}, r"at images\.0\.width"),
        (CONTENT | {"annotations": [{"image_id": 7}]}, r"at annotations\.0\.category_id: Field required"),
        (CONTENT | {"annotations": [changed(SQUARE, area=float("nan"))]}, r"at annotations\.0\.area"),
        (
            CONTENT | {"annotations": [SQUARE, changed(SQUARE, id=2, image_id=9), changed(SQUARE, id=3, image_id=9)]},
            "expected annotations of listed pictures, got annotation 2 of picture 9, .* 2 such annotations",
        ),
        (
            CONTENT | {"annotations": [changed(SQUARE, category_id=5)]},
            "expected one of the 1 categories, got annotation 1 of category 5",
        ),
        (CONTENT | {"images": [PICTURE, PICTURE]}, "a picture id only once, got 7 2 times"),
        (CONTENT | {"categories": [{"id": 3, "name": "cat"}] * 2}, "a category id only once"),
        (
            CONTENT | {"annotations": [SQUARE, changed(CROWD, segmentation={"counts": [24], "size": [6, 4]})]},
            r"a mask of 4 x 6 pixels, as picture 7, got the annotation at place 1 with size \[6, 4\]",
        ),
    ],
)  # fmt: skip
def test_records_that_are_damaged_or_do_not_fit_are_refused(tmp_path: Path, content: Any, expected: str) -> None:
    write(tmp_path, content)
    with pytest.raises(InputError, match=expected):
        read_coco(tmp_path)


def test_a_picture_without_a_file_is_said_at_once_or_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "images" / "eight.png").unlink()
    with pytest.raises(InputError, match=r"none for picture 8, 'eight\.png'; 1 of 2 missing"):
        read_coco(tmp_path)
    seven, eight = read_coco(tmp_path, check=False)
    assert seven.image.size == (6, 4)
    with pytest.raises(InputError, match=r"no file at .*eight\.png"):
        _ = eight.image


def test_a_picture_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, CONTENT | {"images": [changed(PICTURE, file_name="below/seven.png")]})
    with pytest.raises(InputError, match="1 of 1 missing"):
        read_coco(tmp_path)
    (tmp_path / "images" / "below").mkdir()
    (tmp_path / "images" / "seven.png").rename(tmp_path / "images" / "below" / "seven.png")
    assert read_coco(tmp_path)[0].image.size == (6, 4)


def test_a_picture_of_another_size_than_its_record_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    Image.new("RGB", (4, 6)).save(tmp_path / "images" / "seven.png")
    with pytest.raises(InputError, match="Picture of example '7': expected 4 x 6 pixels, got 6 x 4"):
        _ = read_coco(tmp_path)[0].image


def test_a_damaged_picture_is_refused_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "images" / "seven.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="seven.png"):
        _ = read_coco(tmp_path)[0].image


def test_a_split_that_is_not_there_is_said_with_those_that_are(written: Path) -> None:
    with pytest.raises(InputError, match="It has the splits val2017"):
        read_coco(written, split="train2017")


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    write(tmp_path, pictures="elsewhere")
    with pytest.raises(InputError, match="pictures in one of val2017, images/val2017, images"):
        read_coco(tmp_path)

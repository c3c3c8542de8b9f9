"""Panoptic Parts from disk: the bundled scenes written and read back, labels by hand, files that do not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import Dataset, read_scenes
from vlm_lens.data.panoptic_parts import read_panoptic_parts
from vlm_lens.data.scenes import FIRST_SEED
from vlm_lens.demo.scenes import Scene, draw_scene
from vlm_lens.demo.scenes.numbers import LAST_THING, SEMANTIC_IDS
from vlm_lens.demo.scenes.panoptic_parts import write_panoptic_parts
from vlm_lens.errors import InputError

N = 40
TABLE_1_HAS_EYES = ("cat", "dog", "person")
WITHOUT_PARTS = ("car", "boat")  # the writer leaves theirs out


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, "heldout") for seed in range(FIRST_SEED, FIRST_SEED + N)]


@pytest.fixture(scope="module")
def folder(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("panoptic_parts")
    write_panoptic_parts(scenes, folder)
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Dataset:
    return read_panoptic_parts(str(folder))


def write(folder: Path, stem: str, uids: np.ndarray, size: tuple[int, int] | None = None) -> None:
    for kind in ("images", "labels"):
        (folder / kind / "validation").mkdir(parents=True, exist_ok=True)
    height, width = size or uids.shape
    Image.new("RGB", (width, height)).save(folder / "images" / "validation" / f"{stem}.jpg")
    Image.fromarray(uids.astype(np.int32)).save(folder / "labels" / "validation" / f"{stem}.tif")


def test_pictures_and_objects_are_those_of_the_scenes(read: Dataset, scenes: list[Scene]) -> None:
    assert [int(one.id) for one in read] == [scene.seed for scene in scenes]
    for one, scene in zip(read, scenes, strict=True):
        assert np.array_equal(np.asarray(one.image), scene.image)
        things = [o for o in (*scene.objects, *scene.surfaces) if SEMANTIC_IDS[o.kind] <= LAST_THING]
        assert sorted(found.category for found in one.annotations) == sorted(thing.kind for thing in things)
        for thing in things:
            (found,) = one.of(thing.kind)
            assert np.array_equal(found.mask, thing.mask)
            assert found.area == thing.mask.sum()


def test_merged_parts_are_those_that_the_scenes_are_read_with(folder: Path) -> None:
    """Of a cat the dataset knows no muzzle: it was written as head."""
    n_compared = 0
    for one, scene in zip(read_panoptic_parts(str(folder), parts="merged"), read_scenes(N), strict=True):
        for found in one.annotations:
            for drawn in scene.of(found.category):
                expected = dict(drawn.parts) if found.category not in WITHOUT_PARTS else {}
                if found.category == "cat" and "muzzle" in expected:
                    expected["head"] = expected.get("head", False) | expected.pop("muzzle")
                assert set(found.parts) == set(expected)
                assert all(np.array_equal(found.parts[part], expected[part]) for part in expected)
                n_compared += len(expected)
    assert n_compared > 100


def test_the_papers_parts_are_the_merged_ones_without_those_it_drops(read: Dataset, folder: Path) -> None:
    n_dropped = 0
    for one, merged in zip(read, read_panoptic_parts(str(folder), parts="merged"), strict=True):
        for found, other in zip(one.annotations, merged.annotations, strict=True):
            eyeless = {"eye"} if found.category not in TABLE_1_HAS_EYES else set()
            assert set(found.parts) == set(other.parts) - eyeless
            assert all(np.array_equal(mask, other.parts[part]) for part, mask in found.parts.items())
            n_dropped += len(set(other.parts) & eyeless)
    assert n_dropped > 10


def test_raw_parts_keep_their_sides_and_join_to_the_merged_ones(tmp_path: Path) -> None:
    uids = np.zeros((4, 6), np.int32)
    uids[0, :] = [1300113, 1300114, 1300119, 1300120, 1300107, 1300121]  # four legs' halves, a hoof, the tail
    uids[1, :3] = 1300100  # the horse, but no part of it
    uids[2, :2] = 13001  # the same, written short
    uids[3, :] = [13, 53, 0, 1300213, 99, 15]  # no instance, grass, nothing, a second horse, wood, a person's rim
    write(tmp_path, "horse", uids)
    first, second = read_panoptic_parts(str(tmp_path), parts="raw")[0].annotations
    assert {part: np.argwhere(mask).tolist() for part, mask in first.parts.items()} == {
        "left front hoof": [[0, 4]],
        "left front upper leg": [[0, 0]],
        "left front lower leg": [[0, 1]],
        "right back upper leg": [[0, 2]],
        "right back lower leg": [[0, 3]],
        "tail": [[0, 5]],
    }
    assert first.area == 11 and first.mask.sum() == 11 and not first.mask[3].any()
    assert np.argwhere(second.mask).tolist() == [[3, 3]]
    (merged, _) = read_panoptic_parts(str(tmp_path))[0].annotations
    assert {part: int(mask.sum()) for part, mask in merged.parts.items()} == {"hoof": 1, "leg": 4, "tail": 1}


def test_an_instance_may_have_the_number_0(tmp_path: Path) -> None:
    """The format says by a uid's length whether there is an instance; Cityscapes counts from 0."""
    uids = np.zeros((3, 4), np.int32)
    uids[0, :] = [1300007, 1300007, 1300000, 13000]  # a hoof of the first horse, no part of it, the same written short
    uids[1, 0] = 1300121  # the tail of the second
    write(tmp_path, "horses", uids)
    first, second = read_panoptic_parts(str(tmp_path), parts="raw")[0].annotations
    assert (first.category, first.area, second.category, second.area) == ("horse", 4, "horse", 1)
    assert {part: int(mask.sum()) for part, mask in first.parts.items()} == {"left front hoof": 2}


def test_a_picture_of_stuff_alone_is_an_example_without_objects(tmp_path: Path) -> None:
    write(tmp_path, "sky", np.full((3, 3), 84))
    (one,) = read_panoptic_parts(str(tmp_path))
    assert one.annotations == () and one.size == (3, 3)


def test_pictures_of_voc_may_lie_apart_and_be_more_than_the_labels(folder: Path, tmp_path: Path, read: Dataset) -> None:
    shutil.copytree(folder / "labels", tmp_path / "labels")
    shutil.copytree(folder / "images" / "validation", tmp_path / "JPEGImages")
    Image.new("RGB", (3, 3)).save(tmp_path / "JPEGImages" / "2007_000001.jpg")
    beside = read_panoptic_parts(str(tmp_path))
    (tmp_path / "JPEGImages").rename(tmp_path / "pictures")
    given = read_panoptic_parts(str(tmp_path), images=str(tmp_path / "pictures"))
    assert [one.id for one in given] == [one.id for one in beside] == [one.id for one in read]
    with pytest.raises(InputError, match=r"JPEGImages.*Give images=FOLDER"):
        read_panoptic_parts(str(tmp_path))


def test_the_fingerprint_is_that_of_the_labels_and_not_of_their_place(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    first, copied = read_panoptic_parts(str(folder)), read_panoptic_parts(str(tmp_path / "elsewhere"))
    assert copied.fingerprint == first.fingerprint
    assert read_panoptic_parts(str(folder), parts="merged").fingerprint != first.fingerprint
    label = min((tmp_path / "elsewhere" / "labels" / "validation").iterdir())
    changed = np.array(Image.open(label))
    changed[0, 0] = 84
    Image.fromarray(changed).save(label)
    assert read_panoptic_parts(str(tmp_path / "elsewhere")).fingerprint != first.fingerprint


def test_a_limit_takes_the_first_by_name(folder: Path, read: Dataset) -> None:
    assert [one.id for one in read_panoptic_parts(str(folder), limit=3)] == [one.id for one in read[:3]]


def test_a_label_without_picture_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    min((tmp_path / "copy" / "images" / "validation").iterdir()).unlink()
    with pytest.raises(InputError, match=rf"a picture for each label, got none for '0*{FIRST_SEED}' \(1 in all\)"):
        read_panoptic_parts(str(tmp_path / "copy"))


def test_a_picture_without_label_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    min((tmp_path / "copy" / "labels" / "validation").iterdir()).unlink()
    with pytest.raises(InputError, match=rf"a label for each picture, got none for '0*{FIRST_SEED}' \(1 in all\)"):
        read_panoptic_parts(str(tmp_path / "copy"))


def test_a_label_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one", np.full((4, 6), 84), size=(6, 4))
    with pytest.raises(InputError, match=r"one\.tif.*expected 6 x 4 pixels as one\.jpg, got 4 x 6"):
        read_panoptic_parts(str(tmp_path))


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (1200199, r"a part id of dog: 0 to 18, got 99 in uid 1200199"),
        (400101, r"a part id of boat: 0 alone, got 1 in uid 400101"),
        (2401002, r"instances of classes 1 to 20, got uid 2401002.*Cityscapes"),
        (500, r"uids of 1, 2 or 4 to 7 digits.*got 500"),
    ],
)
def test_an_unknown_class_or_part_is_refused_with_its_uid(tmp_path: Path, uid: int, expected: str) -> None:
    write(tmp_path, "one", np.full((2, 2), uid))
    with pytest.raises(InputError, match=rf"Panoptic Parts label .*one\.tif.*{expected}"):
        read_panoptic_parts(str(tmp_path))


def test_a_damaged_label_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    label = min((tmp_path / "copy" / "labels" / "validation").iterdir())
    label.write_bytes(label.read_bytes()[:200])
    with pytest.raises(InputError, match=label.name):
        read_panoptic_parts(str(tmp_path / "copy"))


def test_a_split_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="labels/training"):
        read_panoptic_parts(str(folder), split="training")

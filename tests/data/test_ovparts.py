"""OV-PARTS: its table of names, scenes written in its layout and read back, and files that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data.ovparts import OBJECTS, read_ovparts
from vlm_lens.errors import InputError

PART_NAMES = [f"{name}'s {part}" for name, parts in OBJECTS.items() for part in parts]
OBJECT_NAMES = list(OBJECTS)
NONE = 255


def write(
    folder: Path,
    stem: str,
    parts: list[list[str | None]],
    objects: list[list[str | None]] | None = None,
    kind: type = np.uint8,
    ending: str = "png",
) -> None:
    """A picture with labels that are given as names; None is a pixel without any."""
    none = np.iinfo(kind).max

    def save(room: str, rows: list[list[str | None]], names: list[str]) -> None:
        ids = [[none if name is None else names.index(name) for name in row] for row in rows]
        target = folder / room / "val" / f"{stem}.{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(ids, kind)).save(target)

    save("annotations_detectron2_part", parts, PART_NAMES)
    if objects is not None:
        save("annotations_detectron2_obj", objects, OBJECT_NAMES)
    (folder / "images" / "val").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (len(parts[0]), len(parts))).save(folder / "images" / "val" / f"{stem}.jpg")


CAT = [["cat's ear", "cat's head", None], ["cat's paw", None, "dog's muzzle"]]
CAT_OBJECTS = [["cat", "cat", "cat"], ["cat", None, "dog"]]


def test_there_are_116_parts_and_their_ids_are_those_of_the_benchmark() -> None:
    """Some of the ids in the benchmark's own list, counted there by hand from 0."""
    assert len(PART_NAMES) == 116
    known = {0: "aeroplane's body", 11: "bird's wing", 20: "bottle's body", 22: "bus's wheel", 32: "car's wheel"}
    known |= {42: "cat's tail", 51: "cow's tail", 60: "dog's tail", 70: "horse's tail", 79: "motorbike's wheel"}
    known |= {83: "person's head", 94: "person's lower arm", 97: "pottedplant's pot", 99: "sheep's tail"}
    known |= {108: "train's headlight", 115: "tvmonitor's screen"}
    assert {number: PART_NAMES[number] for number in known} == known


@pytest.mark.parametrize(("kind", "ending"), [(np.uint8, "png"), (np.uint16, "tif")])
def test_objects_have_their_pixels_and_parts_theirs(tmp_path: Path, kind: type, ending: str) -> None:
    write(tmp_path, "2008_000001", CAT, CAT_OBJECTS, kind, ending)
    (one,) = read_ovparts(str(tmp_path))
    assert one.id == "2008_000001" and one.size == (2, 3) and one.image.size == (3, 2)
    cat, dog = one.annotations
    assert (cat.category, cat.area, dog.category, dog.area) == ("cat", 4, "dog", 1)
    assert cat.mask.tolist() == [[True, True, True], [True, False, False]]
    assert {part: np.argwhere(mask).tolist() for part, mask in cat.parts.items()} == {
        "head": [[0, 1]],
        "paw": [[1, 0]],
        "ear": [[0, 0]],
    }
    assert {part: np.argwhere(mask).tolist() for part, mask in dog.parts.items()} == {"muzzle": [[1, 2]]}


def test_without_object_labels_an_object_is_its_parts(tmp_path: Path) -> None:
    write(tmp_path, "one", CAT)
    cat, dog = read_ovparts(str(tmp_path))[0].annotations
    assert cat.mask.tolist() == [[True, True, False], [True, False, False]] and cat.area == 3
    assert dog.area == 1


def test_an_object_without_parts_is_known_from_its_own_label(tmp_path: Path) -> None:
    write(tmp_path, "one", [[None, None]], [["boat", None]])
    (boat,) = read_ovparts(str(tmp_path))[0].annotations
    assert (boat.category, boat.area, dict(boat.parts)) == ("boat", 1, {})


def test_a_limit_takes_the_first_by_name_and_the_fingerprint_tells_labels_apart(tmp_path: Path) -> None:
    for number, part in enumerate(("cat's ear", "cat's eye", "cat's paw")):
        write(tmp_path, f"picture{number}", [[part]])
    assert [one.id for one in read_ovparts(str(tmp_path), limit=2)] == ["picture0", "picture1"]
    before = read_ovparts(str(tmp_path)).fingerprint
    other = tmp_path / "other"
    for number, part in enumerate(("cat's ear", "cat's eye", "cat's leg")):
        write(other, f"picture{number}", [[part]])
    assert read_ovparts(str(other)).fingerprint != before


def test_a_picture_and_a_label_that_stand_alone_are_named(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        write(tmp_path, stem, CAT)
    (tmp_path / "annotations_detectron2_part" / "val" / "b.png").unlink()
    with pytest.raises(InputError, match=r"a part label for each picture, got none for 'b' \(1 in all\)"):
        read_ovparts(str(tmp_path))
    (tmp_path / "images" / "val" / "b.jpg").unlink()
    (tmp_path / "images" / "val" / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"a picture for each part label, got none for 'a' \(1 in all\)"):
        read_ovparts(str(tmp_path))


def test_an_id_beyond_the_last_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one", CAT)
    label = tmp_path / "annotations_detectron2_part" / "val" / "one.png"
    Image.fromarray(np.full((2, 3), 116, np.uint8)).save(label)
    with pytest.raises(InputError, match=r"one\.png.*ids 0 to 115, 255 or 65535, got 116"):
        read_ovparts(str(tmp_path))


def test_an_object_id_beyond_the_last_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one", CAT, CAT_OBJECTS)
    label = tmp_path / "annotations_detectron2_obj" / "val" / "one.png"
    Image.fromarray(np.full((2, 3), 20, np.uint8)).save(label)
    with pytest.raises(InputError, match=r"one\.png.*ids 0 to 19, 255 or 65535, got 20"):
        read_ovparts(str(tmp_path))


@pytest.mark.parametrize("room", ["annotations_detectron2_part", "annotations_detectron2_obj"])
def test_a_label_of_another_size_and_a_damaged_one_are_named(tmp_path: Path, room: str) -> None:
    write(tmp_path, "one", CAT, CAT_OBJECTS)
    label = tmp_path / room / "val" / "one.png"
    content = label.read_bytes()
    Image.fromarray(np.full((3, 2), NONE, np.uint8)).save(label)
    with pytest.raises(InputError, match=rf"{room}.*expected 2 x 3 pixels as one\.jpg, got 3 x 2"):
        read_ovparts(str(tmp_path))
    label.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"Picture .*{room}.*one\.png.*a picture, got"):
        read_ovparts(str(tmp_path))

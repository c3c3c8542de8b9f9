"""Pictures with a folder of masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import open_data
from vlm_lens.data.masked_pictures import read_masked_pictures
from vlm_lens.errors import InputError

LEFT = np.zeros((4, 6), dtype=bool)
LEFT[:, :2] = True
TOP = np.zeros((4, 6), dtype=bool)
TOP[:1] = True


def write(folder: Path, **masks: np.ndarray | Image.Image) -> tuple[Path, Path]:
    """Pictures 7.jpg, 7.b.png and 8.png, and masks by their path with `/` as `__` and `.` as `_`."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name in ("7.jpg", "7.b.png", "8.png"):
        Image.new("RGB", (6, 4), "green").save(folder / "images" / name)
    for told, mask in masks.items():
        name = f"{told.replace('__', '/').replace('_', '.').removeprefix('m')}.png"
        (folder / "masks" / name).parent.mkdir(exist_ok=True)
        picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask.astype(np.uint8) * 255)
        picture.save(folder / "masks" / name)
    return folder / "images", folder / "masks"


def test_a_mask_says_what_it_shows_by_its_name_its_folder_or_the_argument(tmp_path: Path) -> None:
    places = write(tmp_path, m7_cat=LEFT, m7_cat_2=TOP, m7_b=TOP, bird__8=LEFT, bird__7_dog=TOP, bird__8_3=TOP)
    found = {one.id: one for one in read_masked_pictures(*places, category="thing")}
    told = {key: [(one.category, one.area) for one in example.annotations] for key, example in found.items()}
    assert told == {
        "7": [("cat", 6.0), ("cat", 8.0), ("dog", 6.0)],
        "7.b": [("thing", 6.0)],
        "8": [("bird", 6.0), ("bird", 8.0)],
    }
    assert np.array_equal(found["7.b"].annotations[0].mask, TOP)


def test_a_picture_without_a_mask_has_no_annotation(tmp_path: Path) -> None:
    found = read_masked_pictures(*write(tmp_path, m7_cat=LEFT))
    assert [(one.id, one.size, len(one.annotations)) for one in found] == [
        ("7.b", None, 0), ("7", (4, 6), 1), ("8", None, 0),
    ]  # fmt: skip
    assert found[2].image.size == (6, 4)


def test_a_mask_is_what_is_not_black_however_it_was_saved(tmp_path: Path) -> None:
    colored = np.zeros((4, 6, 3), dtype=np.uint8)
    colored[LEFT] = (0, 0, 1)
    indexed = Image.fromarray(LEFT.astype(np.uint8)).convert("P")
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    saved = {
        "m7_ones": Image.fromarray(LEFT.astype(np.uint8)),
        "m7_bits": Image.fromarray(LEFT),
        "m7_wide": Image.fromarray(LEFT.astype(np.uint16) * 300),
        "m7_color": Image.fromarray(colored),
        "m7_palette": indexed,
    }
    annotations = read_masked_pictures(*write(tmp_path, **saved))[1].annotations
    assert sorted(one.category for one in annotations) == ["bits", "color", "ones", "palette", "wide"]
    for one in annotations:
        assert np.array_equal(one.mask, LEFT), one.category


def test_a_picture_that_lies_on_its_side_is_seen_upright(tmp_path: Path) -> None:
    images, masks = write(tmp_path, m8_cat=LEFT.T)
    rotated = Image.new("RGB", (6, 4), "green")
    exif = rotated.getexif()
    exif[0x0112] = 6
    (images / "8.png").unlink()
    rotated.save(images / "8.jpg", exif=exif)
    found = read_masked_pictures(images, masks)[2]
    assert (found.id, found.size, found.image.size) == ("8", (6, 4), (4, 6))


def test_two_folders_in_one_are_enough(tmp_path: Path) -> None:
    write(tmp_path, m7_cat=LEFT)
    assert open_data(f"masks:{tmp_path}")[1].annotations[0].category == "cat"
    assert len(open_data(f"masks:{tmp_path}/images,masks={tmp_path}/masks,category=dog")) == 3


def test_the_fingerprint_is_of_the_masks_pixels(tmp_path: Path) -> None:
    one = read_masked_pictures(*write(tmp_path / "1", m7_cat=LEFT)).fingerprint
    same = read_masked_pictures(*write(tmp_path / "2", m7_cat=Image.fromarray(LEFT))).fingerprint
    other = read_masked_pictures(*write(tmp_path / "3", m7_cat=TOP)).fingerprint
    assert one == same != other


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({"m9_cat": LEFT}, r"Mask .*9\.cat\.png': expected a picture with its name, got none among 3"),
        ({"m7": LEFT}, r"expected a category, got none. Name it 7\.CATEGORY\.png"),
        ({"m7_cat": LEFT.T}, r"expected 4 x 6 pixels, as its picture, got \(6, 4\)"),
        ({"m7_cat": LEFT & False}, "expected an object, got black alone"),
        ({"m7_cat": Image.fromarray(LEFT.astype(np.uint8) + TOP)}, "got 2 values that are not black"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path: Path, masks: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_masked_pictures(*write(tmp_path, **masks))


def test_a_mask_that_lost_something_is_refused(tmp_path: Path) -> None:
    images, masks = write(tmp_path)
    Image.fromarray(LEFT.astype(np.uint8) * 255).save(masks / "7.cat.jpg")
    with pytest.raises(InputError, match="got .jpg. Save it as PNG"):
        read_masked_pictures(images, masks)


def test_pictures_of_one_name_and_folders_that_are_missing_are_refused(tmp_path: Path) -> None:
    images, masks = write(tmp_path)
    with pytest.raises(InputError, match="Folder of masks: expected a folder"):
        read_masked_pictures(images, tmp_path / "absent")
    Image.new("RGB", (6, 4)).save(images / "8.bmp")
    with pytest.raises(InputError, match="8.bmp and 8.png"):
        read_masked_pictures(images, masks)


def test_a_damaged_picture_that_has_a_mask_is_refused(tmp_path: Path) -> None:
    images, masks = write(tmp_path, m8_cat=LEFT)
    (images / "8.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"8\.png"):
        read_masked_pictures(images, masks)

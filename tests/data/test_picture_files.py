"""Pictures and maps of numbers: what is read, and what is said of files that cannot be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data.picture_files import pictures_in, read_integers, read_rgb, size_of
from vlm_lens.errors import InputError


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def cut_off(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_a_picture_comes_as_rgb_and_its_size_is_height_first(tmp_path: Path) -> None:
    pixels = noise(20, 30)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "rgb.png")), pixels)
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "grey.png")), np.repeat(pixels[..., :1], 3, axis=2))
    assert size_of(tmp_path / "rgb.png") == (20, 30)


@pytest.mark.parametrize(
    ("kind", "ending", "largest"), [(np.uint8, "png", 255), (np.uint16, "tif", 65535), (np.int32, "tif", 2_401_002)]
)
def test_whole_numbers_come_as_they_were_written(tmp_path: Path, kind: type, ending: str, largest: int) -> None:
    written = np.random.default_rng(0).integers(0, largest, (9, 7), endpoint=True).astype(kind)
    written[0, 0] = largest
    Image.fromarray(written).save(tmp_path / f"map.{ending}")
    read = read_integers(tmp_path / f"map.{ending}")
    assert np.array_equal(read, written)


def test_a_palette_is_read_as_its_entries(tmp_path: Path) -> None:
    written = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(written).convert("P")
    image.putpalette([255 - n // 3 for n in range(768)])
    image.save(tmp_path / "map.png")
    assert np.array_equal(read_integers(tmp_path / "map.png"), np.asarray(image))


def test_a_map_of_colours_is_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4)).save(tmp_path / "map.png")
    with pytest.raises(InputError, match=r"map\.png.*one whole number a pixel.*mode RGB"):
        read_integers(tmp_path / "map.png")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_a_picture_that_was_cut_off_is_named(tmp_path: Path, name: str, share: float) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / name)
    cut_off(tmp_path / name, share)
    with pytest.raises(InputError, match=f"Picture .*{name}"):
        read_rgb(tmp_path / name)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_tiff_that_was_cut_off_is_named(tmp_path: Path, share: float) -> None:
    numbers = noise(64, 64)[..., 0].astype(np.int32) * 100_000
    Image.fromarray(numbers).save(tmp_path / "map.tif", compression="tiff_lzw")
    cut_off(tmp_path / "map.tif", share)
    with pytest.raises(InputError, match=r"Picture .*map\.tif"):
        read_integers(tmp_path / "map.tif")


def test_a_missing_file_and_a_text_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="expected a file, got none there"):
        size_of(tmp_path / "absent.png")
    with pytest.raises(InputError, match="a format that Pillow knows, got .text.png"):
        read_rgb(tmp_path / "text.png")


def test_pictures_are_found_by_stem_in_order_and_other_files_are_left(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert list(pictures_in(tmp_path).items()) == [("a", tmp_path / "a.jpg"), ("b", tmp_path / "b.PNG")]


def test_two_pictures_of_one_stem_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"each name once, got a\.jpg and a\.png"):
        pictures_in(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        pictures_in(tmp_path / "absent")

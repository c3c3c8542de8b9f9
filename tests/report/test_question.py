"""Masks from files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.report import bundled_questions, read_mask

MASK = np.zeros((6, 8), dtype=bool)
MASK[2:4, 3:7] = True


@pytest.mark.parametrize("value", [1, 255])
def test_what_is_not_black_belongs_to_the_object(tmp_path: Path, value: int) -> None:
    Image.fromarray(MASK.astype(np.uint8) * value).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_a_colour_mask_is_read_alike(tmp_path: Path) -> None:
    Image.fromarray(np.where(MASK[..., None], [128, 0, 0], 0).astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_a_lossy_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match="lossless"):
        read_mask(tmp_path / "mask.jpg")


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match="Mask cannot be opened.*mask.png"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_mask_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mask.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match="Mask cannot be (opened|decoded)"):
        read_mask(file)


def test_an_animated_mask_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(MASK.astype(np.uint8) * value) for value in (255, 100)]
    frames[0].save(tmp_path / "mask.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="Mask has several frames"):
        read_mask(tmp_path / "mask.gif")


def test_a_mask_is_turned_as_its_picture_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "mask.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.rot90(MASK, -1))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "P", "RGB", "RGBA"])
def test_the_darkest_colour_is_not_black(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(MASK) if mode == "1" else Image.fromarray(MASK.astype(np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(MASK.astype(np.uint16))
    elif mode == "P":
        picture.putpalette([0, 0, 0, 0, 0, 1])
    elif mode in ("RGB", "RGBA"):
        picture = Image.merge("RGB", [Image.new("L", picture.size), Image.new("L", picture.size), picture])
    picture = picture.convert(mode) if mode in ("LA", "RGBA") else picture
    assert picture.mode == mode
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_bundled_questions_are_scenes_and_a_photograph() -> None:
    *scenes, photograph = bundled_questions()
    assert len(scenes) >= 4
    assert all(question.mask is None or question.mask.any() for question in scenes)
    assert sum(question.mask is not None for question in scenes) >= 3
    assert photograph.mask is None and np.asarray(photograph.image).shape[2] == 3

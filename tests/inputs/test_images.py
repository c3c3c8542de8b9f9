"""Pictures of every kind come out as one sees them, or are refused with a reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.inputs.tiny_processors import picture
from vlm_lens.errors import InputError
from vlm_lens.inputs import open_image

PIXELS = np.asarray(picture(6, 9))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS.astype(np.int64),
        PIXELS / 255,
        torch.tensor(PIXELS),
        torch.tensor(PIXELS).permute(2, 0, 1) / 255,
    ],
    ids=["pil", "array", "channels first", "int64", "float", "tensor", "float tensor"],
)
def test_the_same_picture_in_any_form(image: object) -> None:
    opened = open_image(image)
    assert opened.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(opened), PIXELS)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_files_are_opened_by_string_or_path(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"picture.{suffix}"
    Image.fromarray(PIXELS).save(file, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(np.asarray(open_image(file)), PIXELS)
    np.testing.assert_array_equal(np.asarray(open_image(str(file))), PIXELS)


def test_transparency_is_laid_over_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0] = (200, 0, 0, 255)
    rgba[1, 1] = (0, 0, 0, 51)
    expected = [[[200, 0, 0]] * 2, [[255] * 3, [204] * 3]]
    assert np.asarray(open_image(Image.fromarray(rgba))).tolist() == expected
    assert np.asarray(open_image(rgba)).tolist() == expected


def test_a_palette_with_a_transparent_colour_is_white_there() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.info["transparency"] = 1
    assert np.asarray(open_image(image)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("I;16", 25700, (100, 100, 100)),
        ("F", 0.4, (102, 102, 102)),
        ("HSV", (0, 0, 100), (100, 100, 100)),
    ],
)
def test_modes_are_converted(mode: str, colour: object, expected: tuple[int, int, int]) -> None:
    assert open_image(Image.new(mode, (2, 3), colour)).getpixel((1, 2)) == expected


def test_the_orientation_of_a_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned; the picture is shown turned back by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "turned.png")), np.rot90(PIXELS, -1))


def test_the_picture_given_stays_as_it_is() -> None:
    given = Image.fromarray(PIXELS)
    opened = open_image(given)
    opened.putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(given), PIXELS)


def test_an_animation_is_refused_until_a_frame_is_chosen(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"3 frames. Choose one of 0 to 2: image.seek\(frame\)"):
        open_image(tmp_path / "moving.gif")
    with Image.open(tmp_path / "moving.gif") as moving:
        moving.seek(1)
        assert open_image(moving.copy()).getpixel((0, 0)) == (0, 0, 254) or open_image(moving.copy()).getpixel(
            (0, 0)
        ) == (0, 0, 255)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tiff", "bmp"])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"cut.{suffix}"
    picture(64, 64).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="Picture cannot be (opened|decoded)"):
        open_image(file)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, over tags that it skips
def test_a_tiff_with_any_byte_damaged_opens_or_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "damaged.tiff"
    Image.fromarray(PIXELS).save(file)
    content = file.read_bytes()
    n_header = len(content) - PIXELS.size
    refused = []
    for place in range(n_header):
        for flipped in (1, 255):
            file.write_bytes(content[:place] + bytes([content[place] ^ flipped]) + content[place + 1 :])
            try:
                open_image(file)
            except InputError as error:
                refused.append(str(error))
    assert any("Missing dimensions" in message for message in refused)
    assert len(refused) < 2 * n_header


def test_a_mode_that_cannot_be_converted_is_refused() -> None:
    with pytest.raises(InputError, match="Picture cannot be decoded.* mode La"):
        open_image(Image.new("La", (2, 2)))


def test_files_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    for name, message in [
        ("empty.png", "'empty.png', 0 bytes"),
        ("text.png", "a format that Pillow knows"),
        ("missing.png", "no file at"),
        (".", "no file at"),
    ]:
        with pytest.raises(InputError, match=message):
            open_image(tmp_path / name)
    with pytest.raises(InputError, match="Download it first"):
        open_image("https://example.org/cat.png")


@pytest.mark.parametrize("share", [1.5, 3.0])
def test_more_pixels_than_the_limit_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Pillow warns above its limit and raises above twice that; here both are refused."""
    picture(30, 30).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(900 / share))
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(InputError, match=f"at most {int(900 / share)} pixels"):
        open_image(tmp_path / "large.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 3), np.uint8), "Pass several pictures as a list"),
        (np.zeros((5, 6, 7), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 6, 3), np.uint8), "got 0x6x3"),
        (np.zeros((192, 3), np.uint8), "got 192x3, one row of pixels. Pass the whole picture"),
        (np.zeros((192, 4)), "one row of pixels"),
        (np.full((4, 4, 3), 1.5), "from 1.5 to 1.5"),
        (np.full((4, 4, 3), np.nan), "from nan"),
        (np.full((4, 4, 3), -1), "from -1 to -1"),
        (np.full((4, 4, 3), 256), "from 256 to 256"),
        (np.full((4, 4, 3), 1j), "complex"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_image(array)


def test_a_grey_picture_as_narrow_as_channels_says_so() -> None:
    assert open_image(np.zeros((192, 3, 1), np.uint8)).size == (3, 192)
    assert open_image(np.zeros((3, 192), np.uint8)).size == (192, 3)


def test_anything_else_is_refused() -> None:
    # As it runs for a user: tests check types before the function can.
    unchecked = getattr(open_image, "__wrapped__", open_image)
    with pytest.raises(InputError, match="a path, or an array .* got bytes"):
        unchecked(b"GIF89a")

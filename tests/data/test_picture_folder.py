"""A plain folder of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import open_data
from vlm_lens.data.picture_folder import read_pictures
from vlm_lens.errors import InputError


def write(folder: Path) -> Path:
    for name, grey in (("b.PNG", 10), ("a/2.jpeg", 20), ("a.png", 30), ("a/1.bmp", 40)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 3), grey).save(folder / name)
    (folder / "list.txt").write_text("no picture")
    (folder / "._b.png").write_bytes(b"what macOS leaves")
    (folder / ".hidden").mkdir()
    Image.new("L", (5, 3)).save(folder / ".hidden" / "c.png")
    return folder


def test_pictures_are_sorted_by_their_names_below_the_folder(tmp_path: Path) -> None:
    found = read_pictures(write(tmp_path))
    assert [one.id for one in found] == ["a.png", "a/1.bmp", "a/2.jpeg", "b.PNG"]
    assert [np.unique(np.asarray(one.image)).tolist() for one in found] == [[30], [40], [20], [10]]
    assert all(one.image.mode == "RGB" for one in found)


def test_a_picture_is_opened_when_it_is_asked_for(tmp_path: Path) -> None:
    (write(tmp_path) / "c.png").write_bytes(b"no picture")
    found = read_pictures(tmp_path)
    assert (found[-1].id, found[-1].size, found[-1].annotations) == ("c.png", None, ())
    with pytest.raises(InputError, match="c.png"):
        _ = found[-1].image


def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path) -> None:
    here, there = write(tmp_path / "here"), write(tmp_path / "there")
    assert read_pictures(here).fingerprint == read_pictures(there).fingerprint
    (there / "a.png").rename(there / "z.png")
    assert read_pictures(here).fingerprint != read_pictures(there).fingerprint


def test_one_line_opens_the_folder(tmp_path: Path) -> None:
    assert len(open_data(f"pictures:{write(tmp_path)}")) == 4


def test_a_folder_that_is_missing_or_has_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder"):
        read_pictures(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="expected files that end in"):
        read_pictures(tmp_path)

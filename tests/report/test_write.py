"""A report is the old one or the new one, never a half."""

import os
from pathlib import Path

import pytest

from vlm_lens.errors import InputError
from vlm_lens.report import write_atomically


def test_content_is_written_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_atomically(path, "größe 猫") == path
    assert path.read_text(encoding="utf-8") == "größe 猫"
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_last_good_file_and_no_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    path = write_atomically(tmp_path / "report.html", "good")

    def interrupted(descriptor: int) -> None:
        raise interruption

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(interruption):
        write_atomically(path, "half")
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_encoded_leaves_the_last_good_file(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "report.html", "good")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "good" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_refused_as_a_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a file"):
        write_atomically(tmp_path, "text")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="folder that can be written to"):
        write_atomically(tmp_path / "file" / "report.html", "text")

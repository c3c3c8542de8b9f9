"""Captions are read from three formats, and what is none of them is refused."""

import json
from pathlib import Path

import pytest

from vlm_lens.data import open_data
from vlm_lens.data.caption_file import read_captions
from vlm_lens.errors import InputError


def written(folder: Path, name: str, content: object) -> str:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(file)


def captions(folder: Path, name: str, content: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.id, one.captions) for one in read_captions(written(folder, name, content))]


def test_a_picture_of_coco_is_one_example_with_all_its_captions(tmp_path: Path) -> None:
    content = {
        "info": {},
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "A cat. "}, {"id": 2, "image_id": 9, "caption": "A dog."},
            {"id": 3, "image_id": 7, "caption": "The cat's ear."},
        ],
    }  # fmt: skip
    assert captions(tmp_path, "c.json", content) == [("7", ("A cat.", "The cat's ear.")), ("9", ("A dog.",))]


def test_of_a_conversation_the_answers_count_alone(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "A leg?"}, {"from": "gpt", "value": "Yes."}, {"from": "gpt", "value": "Two."}]
    content = [{"id": "a", "conversations": turns}, {"id": "a", "conversations": turns[:2]}]
    assert captions(tmp_path, "c.json", content) == [("0", ("Yes.", "Two.")), ("1", ("Yes.",))]


def test_each_line_of_a_text_is_a_caption_and_empty_ones_are_none(tmp_path: Path) -> None:
    assert captions(tmp_path, "c.txt", "A cat.\n\n  A dog.\n") == [("1", ("A cat.",)), ("3", ("A dog.",))]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.json", '{"annotations": [', "JSON"),
        ("c.json", {"annotations": [{"image_id": 1}]}, r"annotations\.0\.caption"),
        ("c.json", [{"conversations": [{"value": "x"}]}], r"0\.conversations\.0\.from"),
        ("c.json", {"annotations": []}, "at least one caption"),
        ("c.txt", " \n", "at least one caption"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, name: str, content: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_captions(written(tmp_path, name, content))


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_captions(str(tmp_path / "c.txt"))
    with pytest.raises(InputError, match="none at"):
        read_captions(str(tmp_path / "none.txt"))


def test_a_caption_has_no_picture(tmp_path: Path) -> None:
    (one,) = read_captions(written(tmp_path, "c.txt", "A cat."))
    with pytest.raises(InputError, match="captions alone"):
        _ = one.image


def test_other_content_is_other_data_wherever_it_lies(tmp_path: Path) -> None:
    here, there, other = (
        read_captions(written(tmp_path, name, content)).fingerprint
        for name, content in (("a.txt", "A cat."), ("b.txt", "A cat."), ("c.txt", "A dog."))
    )
    assert here == there != other


def test_they_are_opened_by_their_formats_name(tmp_path: Path) -> None:
    file = written(tmp_path, "c.txt", "A cat.")
    assert open_data(f"captions:{file}").fingerprint == read_captions(file).fingerprint

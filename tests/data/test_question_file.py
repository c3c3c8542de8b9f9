"""Questions that somebody wrote for chosen pictures, from JSON and CSV."""

import json
from pathlib import Path

import pytest

from vlm_lens.data.question_file import read_questions
from vlm_lens.errors import InputError

ROWS = [
    {"image_id": 7, "question": "What is on the bed?", "answer": "cat", "category": "cat"},
    {"image_id": 9, "question": 'Which one says "moo", and why?', "answer": "cow", "task": "sound"},
    {"image_id": 7, "question": "Who sleeps?", "answer": "the cat"},
]

CSV = (
    "image_id,question,answer,task,category\r\n"
    "7,What is on the bed?,cat,,cat\r\n"
    '9,"Which one says ""moo"", and why?",cow,sound,\r\n'
    "7,Who sleeps?,the cat,,\r\n"
)


def told(path: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    found = read_questions(path)
    return {key: [(one.text, one.answer, one.task, one.category) for one in value] for key, value in found.items()}


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8-sig", newline="")
    expected = {
        "7": [("What is on the bed?", "cat", "vqa", "cat"), ("Who sleeps?", "the cat", "vqa", "")],
        "9": [('Which one says "moo", and why?', "cow", "sound", "")],
    }
    assert told(tmp_path / "a.json") == expected
    assert told(tmp_path / "a.csv") == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", "[{", "expected JSON, got Expecting property name .* line 1 column 3"),
        ("a.json", '[{"image_id": 7, "question": "Q?"}]', "at 0.answer: Field required"),
        ("a.json", '[{"image_id": 7, "question": "", "answer": "A"}]', "at 0.question: String should have at least 1"),
        ("a.json", '{"7": "Q?"}', "at the whole: Input should be a valid list"),
        ("a.csv", "image_id,question,answer\n7,What, again?,A\n", "expected 3 columns, got 4 in line 2"),
        ("a.csv", "image_id,question,answer\n7,Q?,A\n8,Q?,\n", "in line 3, answer: Field required"),
        ("a.csv", 'image_id,question,answer\n7,"Q?,A\n', "expected comma-separated values"),
        ("a.csv", "image_id,question,answer\n7,Q\xe9?,A\n", "expected text in UTF-8"),
        ("a.tsv", "", r"ends in \.json or \.csv, got '\.tsv'"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=expected):
        read_questions(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none at .*absent.csv"):
        read_questions(tmp_path / "absent.csv")

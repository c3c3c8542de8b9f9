"""Questions that somebody wrote for chosen pictures, from a JSON or CSV file."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from vlm_lens.data.example import Question
from vlm_lens.data.json_records import parse_json, read_bytes
from vlm_lens.errors import InputError

WHAT = "Question file"

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Row:
    image_id: int | str
    question: Text
    answer: Text
    task: str = "vqa"
    category: str = ""


_ROW: TypeAdapter[_Row] = TypeAdapter(_Row)
_ROWS: TypeAdapter[list[_Row]] = TypeAdapter(list[_Row])


def read_questions(path: Path) -> Mapping[str, tuple[Question, ...]]:
    """For each picture's id, as text, its questions in the order of the file.

    A JSON file is a list of `{"image_id": 7, "question": "What is on the bed?", "answer": "cat"}`; a CSV file has these
    words as its first line. `task` ("vqa" where it is left out) and `category` (of the object that is asked for) may
    stand beside them.

    Args:
        path: ends in `.json` or `.csv`.

    Raises:
        InputError: another ending, no such file, a field that is missing or empty, with its place in the file.
    """
    content = read_bytes(path, WHAT)
    match path.suffix.lower():
        case ".json":
            rows = parse_json(content, _ROWS.validate_python, path, WHAT)
        case ".csv":
            rows = _csv_rows(content, path)
        case ending:
            raise InputError(f"{WHAT} {str(path)!r}", "a name that ends in .json or .csv", repr(ending))
    found: dict[str, tuple[Question, ...]] = {}
    for row in rows:
        key = str(row.image_id)
        question = Question(row.question, row.answer, row.task or "vqa", row.category)
        found[key] = (*found.get(key, ()), question)
    return found


def _csv_rows(content: bytes, path: Path) -> list[_Row]:
    what = f"{WHAT} {str(path)!r}"
    try:
        text = content.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(what, "text in UTF-8", str(error)) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row:
                got = f"{len(row) - 1 + len(row[None])} in line {reader.line_num}"
                raise InputError(what, f"{len(row) - 1} columns", got, "Quote a text that has a comma.")
            # An empty cell is a field that was left out.
            rows.append(_ROW.validate_python({name: cell for name, cell in row.items() if cell}))
    except csv.Error as error:
        raise InputError(what, "comma-separated values", f"line {reader.line_num}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"line {reader.line_num}, {'.'.join(map(str, first['loc']))}"
        raise InputError(what, f"in {place}: {first['msg']}", repr(first["input"])) from None
    return rows

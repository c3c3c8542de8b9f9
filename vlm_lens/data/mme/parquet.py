"""MME in Parquet files, as lmms-lab/MME has it: a row for each question, the picture's bytes in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vlm_lens.data.example import Example, Question
from vlm_lens.data.mme.tasks import answer_of
from vlm_lens.data.picture_files import ENDINGS, decode_rgb
from vlm_lens.errors import InputError

TEXTS = ("question_id", "question", "answer", "category")
COLUMNS = (*TEXTS, "image")


@dataclass(frozen=True)
class _Row:
    """A question and where its picture lies: the file, its group of rows, and the place in it."""

    id: str
    question: Question
    path: Path
    group: int
    place: int


def parquet_files(place: Path) -> list[Path]:
    """A Parquet file, or those of a folder and of its folder `data`, in the order of their names."""
    if place.is_file():
        return [place]
    return sorted([*place.glob("*.parquet"), *place.glob("data/*.parquet")])


def read_files(files: list[Path]) -> dict[str, list[Example]]:
    """The pictures of each task, with all questions of one id; no picture is read yet.

    Raises:
        InputError: a damaged file, one without these columns, a row without a value, another answer than Yes or No.
    """
    rows: dict[tuple[str, str], list[_Row]] = {}
    for path in files:
        for row in _rows(path):
            rows.setdefault((row.question.task, row.id), []).append(row)
    tasks: dict[str, list[Example]] = {}
    for (task, id), found in rows.items():
        read_image = partial(_read_picture, found[0].path, found[0].group, found[0].place)
        tasks.setdefault(task, []).append(Example(id, read_image, questions=tuple(row.question for row in found)))
    return tasks


def _rows(path: Path) -> Iterator[_Row]:
    what, number = f"MME Parquet file {str(path)!r}", 0
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise InputError(what, f"columns {', '.join(COLUMNS)}", f"none called {', '.join(missing)}")
            groups = [file.read_row_group(n, list(TEXTS)).to_pylist() for n in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise InputError(what, "a Parquet file", str(error), "The file is damaged or cut off.") from error
    for group, found in enumerate(groups):
        for place, row in enumerate(found):
            where = f"{what}, row {number}"
            empty = [name for name in TEXTS if not isinstance(row[name], str) or not row[name].strip()]
            if empty:
                raise InputError(where, f"text in {', '.join(TEXTS)}", f"none in {', '.join(empty)}")
            question = Question(row["question"].strip(), answer_of(row["answer"], where), row["category"])
            yield _Row(_id_of(row["question_id"], row["category"]), question, path, group, place)
            number += 1


def _id_of(question_id: str, task: str) -> str:
    """`existence/000000006040.jpg` as the folders call it: `existence/000000006040`."""
    name = question_id.removeprefix(f"{task}/")
    ending = next((one for one in ENDINGS if name.lower().endswith(one)), "")
    return f"{task}/{name[: len(name) - len(ending)]}"


def _read_picture(path: Path, group: int, place: int) -> Image.Image:
    value = _pictures(path, group)[place].as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    what = f"Picture {place} of group {group} in {str(path)!r}"
    if not isinstance(content, bytes):
        raise InputError(what, "the bytes of a picture", type(content).__name__)
    return decode_rgb(content, what)


# One group of rows is the smallest piece that Parquet reads (a hundred pictures, as the hub writes them), and pictures
# are asked for in their order.
@lru_cache(maxsize=1)
def _pictures(path: Path, group: int) -> Any:
    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, ["image"]).column("image")
    except (pa.ArrowException, OSError) as error:
        what = f"MME Parquet file {str(path)!r}"
        raise InputError(what, "a Parquet file", str(error), "The file is damaged or cut off.") from error

"""Data sets in the forms that `datasets` knows: a local folder or file, or a name on the hub."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Example, Question
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.picture_files import decode_rgb, read_rgb
from vlm_lens.errors import InputError

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILE_KINDS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".arrow": "arrow"}


def read_hub(
    name: str,
    split: str = "train",
    image: str = "image",
    question: str | None = None,
    answer: str | None = None,
    caption: str | None = None,
    id: str | None = None,
    task: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
) -> Dataset:
    """One example for each row; its texts are read at once, its picture when it is asked for.

    A path that exists is read from disk: a folder of Parquet, JSON, CSV or pictures, one such file, or what
    `save_to_disk` wrote. Any other name is asked of the hub, which downloads it; this happens for no name that a user
    did not give. `datasets` keeps a copy in its cache.

    Args:
        name: a folder, a file, or a name on the hub: "lmms-lab/POPE".
        split: the part of the data set.
        image: the column of pictures: what `datasets` calls an image, bytes, or paths.
        question: the column of questions, with `answer`; a text in each row, or a list of them.
        answer: the column of answers.
        caption: the column of captions; a text in each row, or a list of them.
        id: a column that names the picture; without it the number of the row does.
        task: a column that says what kind of question it is.
        config: the configuration, where a data set has several.
        revision: of a data set on the hub: a branch, tag or commit.
        cache_dir: where `datasets` keeps its copy, if not in its own place.

    Raises:
        InputError: nothing there, a damaged file, a split or column that does not exist, a column of another kind, as
            many answers as questions are not there.
    """
    if (question is None) != (answer is None):
        raise InputError(f"Data set {name!r}", "question and answer together", f"{question=}, {answer=}")
    found = _loaded(name, split, config, revision, cache_dir)
    columns = [one for one in (question, answer, caption, id, task) if one is not None]
    missing = [one for one in (image, *columns) if one not in found.column_names]
    if missing:
        rule = f"columns among {', '.join(found.column_names)}"
        raise InputError(f"Data set {name!r} {split}", rule, ", ".join(missing))
    pictures = _pictures(found, image, name)
    texts = found.select_columns(columns) if columns else [{} for _ in range(len(found))]
    examples = []
    for number, row in enumerate(texts):
        where = f"Data set {name!r} {split}, row {number}"
        known = str(row[id]) if id is not None else str(number)
        read_image = partial(_read_picture, pictures, number, image, Path(name), where)
        captions = () if caption is None else _texts(row[caption], f"{where}, {caption}")
        asked = () if question is None else _questions(row, question, str(answer), task, where)
        examples.append(Example(known, read_image, captions=captions, questions=asked))
    told = [[one.id, one.captions, [[q.text, q.answer, q.task] for q in one.questions]] for one in examples]
    fingerprint = fingerprint_of([told, _lengths(pictures, image)])
    return Dataset(f"hub {name} {split}", fingerprint, tuple(examples))


def _loaded(name: str, split: str, config: str | None, revision: str | None, cache_dir: str | None) -> Any:
    # `datasets` takes a second to import, and most runs read something else.
    import datasets

    place, what = Path(name).expanduser(), f"Data set {name!r} {split}"
    if not place.exists() and not _HUB_NAME.fullmatch(name):
        raise InputError(what, "a folder, a file, or a name on the hub", "nothing there")
    try:
        with _silent(datasets, place.exists()):
            if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
                saved = datasets.load_from_disk(place)
                return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
            if place.is_file():
                kind = _FILE_KINDS.get(place.suffix, "parquet")
                files = {split: str(place)}
                return datasets.load_dataset(kind, data_files=files, split=split, cache_dir=cache_dir)
            path = str(place) if place.exists() else name
            return datasets.load_dataset(path, config, split=split, revision=revision, cache_dir=cache_dir)
    except (OSError, ValueError, KeyError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        # What `datasets` says of a damaged file stands in the error that its own came from.
        reason = error.__cause__ or error
        told, advice = f"{type(reason).__name__}: {reason}", "Look at the name, the split, and the files."
        raise InputError(what, "data that `datasets` reads", told, advice) from error


@contextmanager
def _silent(datasets: Any, is_local: bool) -> Iterator[None]:
    """No bars of progress while local files are read; a download shows its own."""
    hides = is_local and not datasets.are_progress_bars_disabled()
    if hides:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if hides:
            datasets.enable_progress_bars()


def _pictures(found: Any, image: str, name: str) -> Any:
    """The column of pictures, undecoded: `{"bytes", "path"}` in each row."""
    from datasets import Image as ImageFeature

    try:
        return found.select_columns([image]).cast_column(image, ImageFeature(decode=False))
    except (TypeError, ValueError, pa.ArrowException) as error:
        kind = str(found.features[image])
        raise InputError(f"Data set {name!r}", f"pictures in the column {image!r}", kind) from error


def _read_picture(pictures: Any, number: int, image: str, place: Path, where: str) -> Image.Image:
    value = pictures[number][image] or {}
    content, path = value.get("bytes"), value.get("path")
    if content is not None:
        return decode_rgb(content, where)
    if path is None:
        raise InputError(where, f"a picture in the column {image!r}", "none")
    beside = (place if place.is_dir() else place.parent) / path
    return read_rgb(beside if beside.is_file() else Path(path))


def _lengths(pictures: Any, image: str) -> list[Any]:
    """The number of bytes of each picture, or the name of its file where it has none inside: without reading them."""
    column = pictures.data.column(image)
    lengths = pc.binary_length(pc.struct_field(column, "bytes")).to_pylist()
    paths = pc.struct_field(column, "path").to_pylist()
    return [Path(path or "").name if n is None else n for n, path in zip(lengths, paths, strict=True)]


def _questions(row: dict[str, Any], question: str, answer: str, task: str | None, where: str) -> tuple[Question, ...]:
    asked, answers = _texts(row[question], f"{where}, {question}"), _texts(row[answer], f"{where}, {answer}")
    if len(asked) != len(answers):
        raise InputError(where, f"an answer to each of {len(asked)} questions", f"{len(answers)} answers")
    kind = "" if task is None else str(row[task])
    return tuple(Question(text, right, kind) for text, right in zip(asked, answers, strict=True))


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """A text or several."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise InputError(where, "a text or a list of texts", repr(value)[:80])

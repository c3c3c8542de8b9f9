"""What `datasets` reads, from files that the test writes: texts at once, pictures when asked, and clear errors."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm_lens.data import Dataset
from vlm_lens.data.hub import read_hub
from vlm_lens.errors import InputError

N = 5


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (4, 5 + number, 3), np.uint8)


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(number)).save(stream, "PNG")
    return stream.getvalue()


def table() -> list[dict[str, Any]]:
    return [
        {
            "image": {"bytes": encoded(number), "path": f"{number}.png"},
            "question": f"Which is it, {number}?",
            "answer": f"the {number}th",
            "captions": [f"picture {number}", f"number {number}"],
            "name": f"picture-{number}",
            "kind": "count" if number % 2 else "order",
        }
        for number in range(N)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(table()), tmp_path / "data" / "test-00000-of-00001.parquet")
    return tmp_path / "data"


def read(place: Path, tmp_path: Path, **columns: Any) -> Dataset:
    return read_hub(str(place), cache_dir=str(tmp_path / "cache"), **columns)


def test_rows_become_examples_with_the_columns_that_are_named(folder: Path, tmp_path: Path) -> None:
    names = dict(question="question", answer="answer", caption="captions", id="name", task="kind")
    found = read(folder, tmp_path, split="test", **names)
    assert [one.id for one in found] == [f"picture-{number}" for number in range(N)]
    for number, one in enumerate(found):
        assert one.captions == (f"picture {number}", f"number {number}")
        (asked,) = one.questions
        assert (asked.text, asked.answer) == (f"Which is it, {number}?", f"the {number}th")
        assert asked.task == ("count" if number % 2 else "order")
        assert np.array_equal(np.asarray(one.image), pixels(number))


def test_without_other_columns_there_are_pictures_alone(folder: Path, tmp_path: Path) -> None:
    found = read(folder / "test-00000-of-00001.parquet", tmp_path)
    assert [(one.id, one.captions, one.questions) for one in found] == [(str(n), (), ()) for n in range(N)]
    assert np.array_equal(np.asarray(found[3].image), pixels(3))


def test_lists_of_questions_belong_to_one_picture(tmp_path: Path) -> None:
    rows = [{"image": encoded(0), "asked": ["a?", "b?"], "said": ["yes", "no"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "two.parquet")
    (one,) = read(tmp_path / "two.parquet", tmp_path, question="asked", answer="said")
    assert [(asked.text, asked.answer) for asked in one.questions] == [("a?", "yes"), ("b?", "no")]
    assert np.array_equal(np.asarray(one.image), pixels(0))


def test_a_folder_of_pictures_with_its_metadata_is_read(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = []
    for number in range(N):
        (pictures / f"{number}.png").write_bytes(encoded(number))
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f"caption {number}"}))
    (pictures / "metadata.jsonl").write_text("\n".join(lines))
    found = read(pictures, tmp_path, caption="text")
    assert sorted(one.captions for one in found) == [(f"caption {number}",) for number in range(N)]
    for one in found:
        assert np.array_equal(np.asarray(one.image), pixels(int(one.captions[0].split()[-1])))


def test_paths_of_pictures_are_looked_up_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(encoded(0))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"picture": "0.png", "text": "one"}) + "\n")
    (one,) = read(tmp_path / "rows.jsonl", tmp_path, image="picture", caption="text")
    assert np.array_equal(np.asarray(one.image), pixels(0)) and one.captions == ("one",)
    (tmp_path / "0.png").unlink()
    with pytest.raises(InputError, match=r"expected a file, got no file at '.*0\.png'"):
        _ = one.image


def test_what_save_to_disk_wrote_is_read(folder: Path, tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(table()).cast_column("image", datasets.Image())
    made.save_to_disk(tmp_path / "alone")
    datasets.DatasetDict({"val": made}).save_to_disk(tmp_path / "several")
    expected = read(folder, tmp_path, split="test", caption="captions")
    for found in (
        read(tmp_path / "alone", tmp_path, caption="captions"),
        read(tmp_path / "several", tmp_path, split="val", caption="captions"),
    ):
        assert [one.captions for one in found] == [one.captions for one in expected]
        assert np.array_equal(np.asarray(found[2].image), pixels(2))
        assert found.fingerprint == expected.fingerprint


def test_the_fingerprint_knows_texts_and_pictures(folder: Path, tmp_path: Path) -> None:
    before = read(folder, tmp_path, split="test", caption="captions").fingerprint
    for number, change in enumerate(({"captions": ["other"]}, {"image": {"bytes": encoded(9), "path": "0.png"}})):
        rows = table()
        rows[0] |= change
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{number}.parquet")
        assert read(tmp_path / f"{number}.parquet", tmp_path, caption="captions").fingerprint != before


def test_columns_and_splits_that_do_not_exist_are_named_with_those_that_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns among image, question, .*got picture, text"):
        read(folder, tmp_path, split="test", image="picture", caption="text")
    with pytest.raises(InputError, match=r'val.*Unknown split "val"'):
        read(folder, tmp_path, split="val")


def test_questions_need_answers(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="question and answer together"):
        read(folder, tmp_path, split="test", question="question")
    rows = [{"image": encoded(0), "asked": ["a?", "b?"], "said": ["yes"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "two.parquet")
    with pytest.raises(InputError, match="row 0: expected an answer to each of 2 questions, got 1 answers"):
        read(tmp_path / "two.parquet", tmp_path, question="asked", answer="said")


def test_columns_of_another_kind_are_refused(tmp_path: Path) -> None:
    rows = [{"image": encoded(0), "number": 3}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="row 0, number: expected a text or a list of texts, got 3"):
        read(tmp_path / "rows.parquet", tmp_path, caption="number")
    with pytest.raises(InputError, match="pictures in the column 'number'"):
        read(tmp_path / "rows.parquet", tmp_path, image="number")


def test_a_row_without_picture_and_one_with_other_bytes_are_named(tmp_path: Path) -> None:
    rows = [{"image": encoded(0)}, {"image": None}, {"image": b"no picture"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    found = read(tmp_path / "rows.parquet", tmp_path)
    with pytest.raises(InputError, match="row 1: expected a picture in the column 'image', got none"):
        _ = found[1].image
    with pytest.raises(InputError, match="row 2.*expected a picture"):
        _ = found[2].image


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_damaged_parquet_file_is_told(folder: Path, tmp_path: Path, share: float) -> None:
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="data that `datasets` reads, got Arrow.*Parquet"):
        read(path, tmp_path)
    with pytest.raises(InputError, match="data that `datasets` reads"):
        read(folder, tmp_path, split="test")


def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, a file, or a name on the hub, got nothing there"):
        read(tmp_path / "absent", tmp_path)


def test_a_name_on_the_hub_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nobody/nothing' train: expected data that `datasets` reads, got"):
        read_hub("nobody/nothing", cache_dir=str(tmp_path))


def test_bars_of_progress_are_as_before_afterwards(folder: Path, tmp_path: Path) -> None:
    before = datasets.are_progress_bars_disabled()
    read(folder, tmp_path, split="test")
    assert datasets.are_progress_bars_disabled() == before

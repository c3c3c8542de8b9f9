"""MME in both of its forms: the same pictures and questions, and files that are not as they should be."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm_lens.data import Question
from vlm_lens.data.mme import COGNITION, PERCEPTION, read_mme
from vlm_lens.errors import InputError

APART = ("OCR", "artwork")
TASKS = ("existence", "count", *APART)
N = 3
ASK = "Please answer yes or no."


def pixels(task: str, number: int) -> np.ndarray:
    seed = TASKS.index(task) * N + number
    return np.random.default_rng(seed).integers(0, 255, (4 + number, 6, 3), np.uint8)


def questions(task: str, number: int) -> list[tuple[str, str]]:
    return [(f"Is it {task} {number}? {ASK}", "Yes"), (f"Is it none of {task}'s {number}? {ASK}", "No")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for task in TASKS:
        images = tmp_path / task / "images" if task in APART else tmp_path / task
        texts = tmp_path / task / "questions_answers_YN" if task in APART else tmp_path / task
        for room in (images, texts):
            room.mkdir(parents=True, exist_ok=True)
        for number in range(N):
            Image.fromarray(pixels(task, number)).save(images / f"000{number}.png")
            lines = [f"{question}\t{answer}" for question, answer in questions(task, number)]
            (texts / f"000{number}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def rows() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for task in TASKS:
        for number in range(N):
            stream = io.BytesIO()
            Image.fromarray(pixels(task, number)).save(stream, "PNG")
            image = {"bytes": stream.getvalue(), "path": f"000{number}.png"}
            for question, answer in questions(task, number):
                row = {"question_id": f"{task}/000{number}.png", "question": question, "answer": answer}
                found.append(row | {"category": task, "image": image})
    return found


def write_parquet(path: Path, table: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path, row_group_size=5)
    return path


def test_both_questions_of_a_picture_come_together(folder: Path) -> None:
    read = read_mme(str(folder), "existence+OCR")
    assert [one.id for one in read] == [f"{task}/000{number}" for task in ("existence", "OCR") for number in range(N)]
    one = read[4]
    assert one.questions[0].text == f"Is it OCR 1? {ASK}" and one.questions[0].answer == "Yes"
    assert [(asked.answer, asked.task) for asked in one.questions] == [("Yes", "OCR"), ("No", "OCR")]
    assert isinstance(one.questions[1], Question) and one.size == (5, 6)
    assert np.array_equal(np.asarray(one.image), pixels("OCR", 1))


def test_parquet_gives_what_the_folders_give(folder: Path, tmp_path: Path) -> None:
    """In two files, and in groups of rows that part a picture's two questions."""
    table = rows()
    write_parquet(tmp_path / "hub" / "data" / "test-00000-of-00002.parquet", table[:11])
    write_parquet(tmp_path / "hub" / "data" / "test-00001-of-00002.parquet", table[11:])
    for tasks in ("all", "count+artwork"):
        one_form, other = read_mme(str(folder), tasks), read_mme(str(tmp_path / "hub"), tasks)
        assert [one.id for one in other] == [one.id for one in one_form]
        for one, same in zip(other, one_form, strict=True):
            assert [(q.text, q.answer, q.task) for q in one.questions] == [
                (q.text, q.answer, q.task) for q in same.questions
            ]
            assert np.array_equal(np.asarray(one.image), np.asarray(same.image))


def test_a_single_parquet_file_is_a_place_and_bytes_may_stand_bare(tmp_path: Path) -> None:
    table = [row | {"image": row["image"]["bytes"]} for row in rows()]  # type: ignore[index]
    read = read_mme(str(write_parquet(tmp_path / "mme.parquet", table)), "count")
    assert np.array_equal(np.asarray(read[2].image), pixels("count", 2))


def test_the_release_may_be_packed_into_its_own_folders(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    (packed / "MME_Benchmark_release_version").mkdir(parents=True)
    for task in TASKS:
        (folder / task).rename(packed / "MME_Benchmark_release_version" / task)
    (packed / "eval_tool").mkdir()
    assert len(read_mme(str(packed), "all")) == N * len(TASKS)


def test_the_papers_ten_tasks_are_asked_for_unless_others_are(folder: Path) -> None:
    assert len(set(PERCEPTION)) == 10 and len(set(COGNITION)) == 4
    with pytest.raises(InputError, match=r"no position, color, posters.* beside OCR, artwork, count, existence"):
        read_mme(str(folder))
    assert [one.questions[0].task for one in read_mme(str(folder), "all")[::N]] == [
        task for task in PERCEPTION if task in TASKS
    ]


def test_the_fingerprint_knows_the_questions_and_not_the_place(folder: Path) -> None:
    before = read_mme(str(folder), "count").fingerprint
    moved = folder.rename(folder.with_name("moved"))
    assert read_mme(str(moved), "count").fingerprint == before
    text = moved / "count" / "0000.txt"
    text.write_text(text.read_text(encoding="utf-8").replace("none", "some"), encoding="utf-8")
    assert read_mme(str(moved), "count").fingerprint != before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Is it so? Yes", "a question, one tab, and Yes or No, got 'Is it so"),
        ("Is it so?\tYes\tNo", "a question, one tab, and Yes or No"),
        ("\tYes", "a question, one tab, and Yes or No"),
        ("Is it so?\tMaybe", "the answer Yes or No, got 'Maybe'"),
    ],
)
def test_a_malformed_line_is_named_with_file_and_number(folder: Path, line: str, expected: str) -> None:
    (folder / "count" / "0001.txt").write_text(f"Is it?\tYes\n\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"0001\.txt', line 3: expected {expected}"):
        read_mme(str(folder), "count")


def test_a_text_without_questions_and_one_that_is_no_text_are_named(folder: Path) -> None:
    (folder / "count" / "0001.txt").write_text("\n")
    with pytest.raises(InputError, match=r"0001\.txt.*at least one question"):
        read_mme(str(folder), "count")
    (folder / "count" / "0001.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"0001\.txt.*UTF-8"):
        read_mme(str(folder), "count")


def test_a_picture_without_questions_and_the_other_way_round_are_named(folder: Path) -> None:
    (folder / "count" / "0001.txt").unlink()
    with pytest.raises(InputError, match=r"a text of questions for each picture, got none for '0001' \(1 in all\)"):
        read_mme(str(folder), "count")
    (folder / "OCR" / "images" / "0002.png").unlink()
    with pytest.raises(InputError, match=r"a picture for each text of questions, got none for '0002' \(1 in all\)"):
        read_mme(str(folder), "OCR")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_parquet_file_that_was_cut_off_is_named(tmp_path: Path, share: float) -> None:
    path = write_parquet(tmp_path / "mme.parquet", rows())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"MME Parquet file .*mme\.parquet.*damaged or cut off"):
        read_mme(str(path), "all")


def test_a_column_and_a_value_that_are_missing_are_named(tmp_path: Path) -> None:
    table = [{key: value for key, value in row.items() if key != "answer"} for row in rows()]
    with pytest.raises(InputError, match="columns .*got none called answer"):
        read_mme(str(write_parquet(tmp_path / "a.parquet", table)), "all")
    table = rows()
    table[7]["question"] = None
    with pytest.raises(InputError, match=r"b\.parquet', row 7: expected text in .*none in question"):
        read_mme(str(write_parquet(tmp_path / "b.parquet", table)), "all")
    table = rows()
    table[8]["answer"] = "perhaps"
    with pytest.raises(InputError, match=r"c\.parquet', row 8: expected the answer Yes or No, got 'perhaps'"):
        read_mme(str(write_parquet(tmp_path / "c.parquet", table)), "all")


def test_bytes_that_are_no_picture_are_named_when_they_are_read(tmp_path: Path) -> None:
    table = rows()
    for row in table[:2]:
        row["image"] = {"bytes": b"no picture", "path": "0000.png"}
    read = read_mme(str(write_parquet(tmp_path / "mme.parquet", table)), "existence")
    with pytest.raises(InputError, match=r"Picture 0 of group 0 in .*mme\.parquet"):
        _ = read[0].image


def test_a_place_with_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tasks of any name, got none"):
        read_mme(str(tmp_path), "all")
    with pytest.raises(InputError, match="nothing there"):
        read_mme(str(tmp_path / "absent"))

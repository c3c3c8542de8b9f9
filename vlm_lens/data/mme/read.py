"""MME from disk, in whichever of its two forms lies there."""

from pathlib import Path

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.mme.folder import read_task, task_folders
from vlm_lens.data.mme.parquet import parquet_files, read_files
from vlm_lens.data.mme.tasks import chosen_tasks
from vlm_lens.errors import InputError

RELEASE = ("MME_Benchmark_release_version", "MME_Benchmark")
"""Folders that the release packs its tasks into."""


def read_mme(place: str, tasks: str = "perception") -> Dataset:
    """Pictures, each with its questions; the task is that of the question, the answers are "Yes" and "No".

    Two forms are known. The release has a folder for each task, in it a text beside each picture, or both apart in
    `images` and `questions_answers_YN`. The Parquet files of `lmms-lab/MME` have a row for each question; rows of one
    id are one picture.

    Args:
        place: the folder of tasks, or a Parquet file, or a folder of these.
        tasks: "perception" (the ten of What's in the image?), "cognition", "all" for those that are there, or names
            joined by "+": "existence+count".

    Raises:
        InputError: a task that is not there; a picture without questions or the other way round; a line or row that is
            no question with its answer; a damaged file.

    Source: Fu et al. 2023, MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models, 2306.13394.
    """
    root, what = Path(place), f"MME {place!r}"
    if not root.exists():
        raise InputError(what, "a folder or a Parquet file", "nothing there")
    if files := parquet_files(root):
        by_task = read_files(files)
        examples = [one for task in chosen_tasks(tasks, by_task, what) for one in by_task[task]]
    else:
        folders = task_folders(_released(root))
        examples = [one for task in chosen_tasks(tasks, folders, what) for one in read_task(task, folders[task])]
    return Dataset(f"mme {place} {tasks}", fingerprint_of([_known(one) for one in examples]), tuple(examples))


def _released(root: Path) -> Path:
    for name in RELEASE:
        root = root / name if (root / name).is_dir() else root
    return root


def _known(one: Example) -> list[object]:
    return [one.id, one.size, [[asked.text, asked.answer, asked.task] for asked in one.questions]]

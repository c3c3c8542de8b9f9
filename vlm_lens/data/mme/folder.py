"""A task of MME in its folder: a text of two lines beside each picture, a question, a tab and the answer in each."""

from functools import partial
from pathlib import Path

from vlm_lens.data.example import Example, Question
from vlm_lens.data.mme.tasks import answer_of
from vlm_lens.data.picture_files import check_each_has, pictures_in, read_rgb, size_of
from vlm_lens.errors import InputError

IMAGES, QUESTIONS = "images", "questions_answers_YN"
"""Where some tasks keep the two apart."""


def task_folders(place: Path) -> dict[str, Path]:
    """The folders of tasks in a folder, by their names: those with texts of questions."""
    found = {}
    for folder in sorted(place.iterdir()):
        if (folder / QUESTIONS).is_dir() or (folder.is_dir() and any(folder.glob("*.txt")) and pictures_in(folder)):
            found[folder.name] = folder
    return found


def read_task(task: str, folder: Path) -> tuple[Example, ...]:
    """The pictures of a task, by name.

    Raises:
        InputError: a picture without questions or the other way round, a line that is no question with its answer.
    """
    apart = (folder / QUESTIONS).is_dir()
    pictures = pictures_in(folder / IMAGES if apart else folder)
    texts = pictures_in(folder / QUESTIONS if apart else folder, (".txt",))
    check_each_has(f"MME task {str(folder)!r}", "text of questions", "picture", pictures, texts)
    check_each_has(f"MME task {str(folder)!r}", "picture", "text of questions", texts, pictures)
    return tuple(
        Example(f"{task}/{stem}", partial(read_rgb, picture), size_of(picture), questions=_questions(texts[stem], task))
        for stem, picture in pictures.items()
    )


def _questions(path: Path, task: str) -> tuple[Question, ...]:
    what = f"MME questions {str(path)!r}"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(what, "text in UTF-8", str(error)) from None
    questions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        pieces = [piece.strip() for piece in line.split("\t")]
        if len(pieces) != 2 or not all(pieces):
            raise InputError(f"{what}, line {number}", "a question, one tab, and Yes or No", repr(line))
        questions.append(Question(pieces[0], answer_of(pieces[1], f"{what}, line {number}"), task))
    if not questions:
        raise InputError(what, "at least one question", "an empty text")
    return tuple(questions)

"""The tasks of MME, and the answers that it knows."""

from collections.abc import Collection

from vlm_lens.errors import InputError

PERCEPTION = (
    "existence", "count", "position", "color", "OCR", "posters", "celebrity", "artwork", "scene", "landmark",
)  # fmt: skip
"""The ten tasks of Table 1 of What's in the image?, in its order, under the names of their folders."""

COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")

ANSWERS = {"yes": "Yes", "no": "No"}


def chosen_tasks(tasks: str, present: Collection[str], what: str) -> tuple[str, ...]:
    """The tasks that are asked for.

    Args:
        tasks: "perception", "cognition", "all" for those that are there, or names joined by "+".
        present: those that are there.
        what: where, for the error.

    Raises:
        InputError: one of them is not there, or none at all.
    """
    if tasks == "all":
        order = [*PERCEPTION, *COGNITION]
        wanted = tuple(sorted(present, key=lambda one: (order.index(one) if one in order else len(order), one)))
    else:
        wanted = {"perception": PERCEPTION, "cognition": COGNITION}.get(tasks, tuple(tasks.split("+")))
    absent = [task for task in wanted if task not in present]
    if absent or not wanted:
        told = f"no {', '.join(absent)} beside {', '.join(sorted(present)) or 'nothing'}" if absent else "none"
        raise InputError(what, f"tasks {', '.join(wanted) or 'of any name'}", told, "Name some: tasks=existence+count.")
    return wanted


def answer_of(text: str, where: str) -> str:
    """An answer as "Yes" or "No".

    Raises:
        InputError: it is neither.
    """
    answer = ANSWERS.get(text.strip().lower())
    if answer is None:
        raise InputError(where, "the answer Yes or No", repr(text))
    return answer

"""Questions whose answer is one of the picture's objects: "What is on the bed?" "cat"."""

from vlm_lens.data import Annotation, Dataset, Example, Question


def object_question(example: Example, task: str) -> tuple[Question, Annotation]:
    """A picture's first question of a task whose answer is an object that is there once, and that object.

    Raises:
        LookupError: it has none; `with_object_question` leaves such pictures out.
    """
    for question in example.questions:
        found = example.of(question.answer)
        if question.task == task and len(found) == 1:
            return question, found[0]
    raise LookupError(f"Example {example.id} has no question of task {task!r} about an object that is there once")


def with_object_question(data: Dataset, task: str) -> Dataset:
    """The pictures with such a question."""

    def has_one(example: Example) -> bool:
        return any(one.task == task and len(example.of(one.answer)) == 1 for one in example.questions)

    return data.where(f"a question of task {task!r} whose answer is an object that is there once", has_one)

"""Questions whose answer is one of the picture's objects: "What is on the bed?" "cat"."""

from vlm_lens.data import Annotation, Dataset, Example, Question

_YES_NO = ("yes", "no")


def object_question(example: Example, task: str = "") -> tuple[Question, Annotation]:
    """A picture's first question whose answer is an object that is there once, and that object.

    Args:
        example: the picture.
        task: of the question, in the dataset's word; "" for any.

    Raises:
        LookupError: it has none; `with_object_question` leaves such pictures out.
    """
    for question in example.questions:
        found = example.of(object_of(question))
        if task in ("", question.task) and len(found) == 1:
            return question, found[0]
    raise LookupError(f"Example {example.id} has no {_told(task)} about an object that is there once")


def with_object_question(data: Dataset, task: str = "") -> Dataset:
    """The pictures with such a question."""

    def has_one(example: Example) -> bool:
        return any(task in ("", one.task) and len(example.of(object_of(one))) == 1 for one in example.questions)

    return data.where(f"a {_told(task)} whose answer is an object that is there once", has_one)


def object_of(question: Question) -> str:
    """The category of the object that answers a question; "" for one that is answered yes or no.

    A question whose answer is another word for the object ("couch") says its category beside it ("sofa").
    """
    return "" if question.answer.strip(" .").lower() in _YES_NO else question.category or question.answer


def _told(task: str) -> str:
    return f"question of task {task!r}" if task else "question"

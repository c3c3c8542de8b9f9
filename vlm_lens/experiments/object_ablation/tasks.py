"""The three ways to ask for an object: a description, a question of yes or no, and one that the object answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from vlm_lens.data import Annotation, Example, Question
from vlm_lens.estimates import Mean
from vlm_lens.experiments.answers import beginning_of, said_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.grid import Grid
from vlm_lens.experiments.object_ablation.scoring import names_object, says_yes
from vlm_lens.experiments.object_ablation.token_sets import TokenSet
from vlm_lens.experiments.object_questions import object_question
from vlm_lens.experiments.prompts import asked
from vlm_lens.inputs import Inputs
from vlm_lens.sweeps import Generated, Logits
from vlm_lens.sweeps.cell import Cell

GENERATIVE, POLLING, VQA = "Generative", "Polling", "VQA"
TASKS = (GENERATIVE, POLLING, VQA)
DESCRIBE, IS_THERE, IT_IS_A = "Describe this image.", "Is there a {} in this image?", "It is a"


@dataclass(frozen=True, eq=False)
class Subject:
    """The object of a picture that is ablated.

    Attributes:
        example: the picture.
        annotation: the object.
        question: one that it answers; None where the data have none.
    """

    example: Example
    annotation: Annotation
    question: Question | None

    @property
    def category(self) -> str:
        """What it is."""
        return self.annotation.category


def subject_of(context: Context, example: Example) -> Subject:
    """The object of a picture that a question asks for; where none does, one drawn from those that fit."""
    targets = example.targets
    try:
        question, annotation = object_question(example, context.options.task)
    except LookupError:
        annotation = None
    if annotation is not None and any(annotation is one for one in targets):
        return Subject(example, annotation, question)
    return Subject(example, targets[int(context.random(example.id, "object").integers(len(targets)))], None)


def prompt_of(context: Context, subject: Subject, task: str, image: Image.Image) -> Inputs:
    """A picture with the words of a task."""
    if task == VQA:
        assert subject.question is not None
        return asked(context.vlm, image, subject.question.text, answer=IT_IS_A)
    words = DESCRIBE if task == GENERATIVE else IS_THERE.format(subject.category)
    return asked(context.vlm, image, words)


def grid_of(context: Context, task: str, inputs: Inputs, sets: Sequence[TokenSet], mean: Mean) -> Grid:
    """The ablations of a picture under a task; sets without a token are left out."""
    span = inputs.layout.image_span()
    conditions = {one.name: one.ablated(span, mean) for one in sets if one.n_tokens}
    options = context.options
    n_tokens = {GENERATIVE: options.description_tokens, POLLING: options.polling_tokens}
    return Grid(inputs, conditions, Generated(max_new_tokens=n_tokens[task]) if task in n_tokens else Logits())


@dataclass(frozen=True)
class Answered:
    """An answer and whether it is right.

    Attributes:
        text: what the model said; in VQA the likeliest token.
        is_right: whether that names the object, or says yes.
        probability: in VQA, of the right answer's first token.
    """

    text: str
    is_right: bool
    probability: float | None = None

    def to_dict(self, prefix: str = "") -> dict[str, Any]:
        """As columns of a row."""
        return {f"{prefix}{name}": getattr(self, name) for name in ("is_right", "probability", "text")}


def answered(context: Context, subject: Subject, task: str, inputs: Inputs, cell: Cell) -> Answered:
    """What a cell says, scored."""
    options = context.options
    if task == VQA:
        assert subject.question is not None and cell.logits is not None
        answer = beginning_of(context.vlm, subject.question.answer, IT_IS_A)
        said = said_of(context.vlm, cell.logits[0], subject.question.answer, answer, options.token_rule)
        return Answered(said.token, said.is_right, said.probability)
    return scored_text(context, subject, task, inputs, cell.text)


def scored_text(context: Context, subject: Subject, task: str, inputs: Inputs, text: str) -> Answered:
    """A generated text, scored."""
    options, prompt = context.options, inputs.layout.text()
    if task == GENERATIVE:
        return Answered(text, names_object(prompt, text, subject.category, options.mention_rule))
    return Answered(text, says_yes(prompt, text, options.yes_rule))

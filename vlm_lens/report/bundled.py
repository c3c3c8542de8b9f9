"""The questions of `make demo`: scenes that the bundled model never saw in training, and a photograph."""

from skimage import data

from vlm_lens.demo.examples import ExampleScene, example_scenes
from vlm_lens.report.question import Question

PHOTOGRAPH_QUESTION = "Is there a cat in this image?"


def bundled_questions() -> tuple[Question, ...]:
    """Every example scene, then the photograph of a cat that scikit-image brings along."""
    return (*(scene_question(example) for example in example_scenes()), photograph_question())


def scene_question(example: ExampleScene) -> Question:
    """A scene with its question and its subject's pixels.

    An answer's opening ("It is a") is given to the model, as it was in training.
    """
    turn, scene = example.turn, example.scene
    prompt = turn.question
    if turn.answer_prefix:
        prompt = f"USER: <image>\n{turn.question} ASSISTANT: {turn.answer_prefix}"
    kinds = dict.fromkeys(thing.kind for thing in (*scene.objects, *scene.surfaces))
    return Question(
        example.name,
        scene.image,
        prompt,
        None if example.subject is None else example.subject.mask,
        tuple(kinds),
    )


def photograph_question() -> Question:
    """A real photograph: far from what the bundled model was trained on, and shown as such."""
    return Question("photograph of a cat", data.chelsea(), PHOTOGRAPH_QUESTION, words=("cat",))

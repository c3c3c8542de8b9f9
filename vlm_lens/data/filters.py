"""The papers' filters, each from a dataset to a smaller one that remembers the counts before and after.

Some look at pictures, some at the objects that the experiment is about (`Example.targets`); those drop a picture when
none of its targets is left. What counts objects in a picture counts its annotations, whatever is a target of them.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from math import prod
from random import Random

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example


def at_most_annotations(data: Dataset, n: int) -> Dataset:
    """Pictures with at most n annotated objects of any kind, crowds counted as one."""
    return data.where(f"at most {n} annotations", lambda example: len(example.annotations) <= n)


def chosen_ids(data: Dataset, ids: Collection[str]) -> Dataset:
    """Pictures that are on a list, in the order of the dataset."""
    wanted = frozenset(ids)
    return data.where(f"among {len(wanted)} chosen ids", lambda example: example.id in wanted)


def with_questions(data: Dataset, task: str | None = None) -> Dataset:
    """Pictures with a question, or with one of a task; of those with a task, only its questions stay."""
    if task is None:
        return data.where("with a question", lambda example: bool(example.questions))
    asked = tuple(
        replace(one, questions=tuple(question for question in one.questions if question.task == task)) for one in data
    )
    return replace(data, examples=asked).where(f"with a question of {task!r}", lambda example: bool(example.questions))


def of_categories(data: Dataset, categories: Collection[str]) -> Dataset:
    """Objects of some categories."""
    wanted = frozenset(categories)
    return data.about(f"of {', '.join(categories)}", lambda _, target: target.category in wanted)


def one_instance(data: Dataset) -> Dataset:
    """Objects that are the only one of their category in the picture, and no crowd."""
    return data.about(
        "one instance of its category",
        lambda example, target: not target.is_crowd and len(example.of(target.category)) == 1,
    )


def area_between(data: Dataset, low: int | float, high: int | float) -> Dataset:
    """Objects of more than `low` and less than `high` pixels, both strictly, as the dataset says their area."""
    return data.about(f"{low:g} < area < {high:g}", lambda _, target: low < target.area < high)


def covers_at_least(data: Dataset, share: int | float) -> Dataset:
    """Objects that cover at least a share of their picture; a picture of unknown size is read."""
    return data.about(f"covers at least {share:.0%}", lambda example, target: _share(example, target) >= share)


def at_most_per_category(data: Dataset, n: int, seed: int | None = None) -> Dataset:
    """At most n pictures for each category of the targets; a picture may be one of the n for several categories.

    Args:
        data: a dataset.
        n: how many.
        seed: draws them by chance, for each category by itself, so that other categories change nothing; None takes the
            first ones.
    """
    pictures: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(data):
        for category in dict.fromkeys(target.category for target in example.targets):
            pictures[category].append(number)
    drawn = {category: set(_drawn(numbers, n, seed, category)) for category, numbers in pictures.items()}
    kept = frozenset(
        id(target)
        for number, example in enumerate(data)
        for target in example.targets
        if number in drawn[target.category]
    )
    how = "the first" if seed is None else f"drawn with seed {seed}"
    return data.about(f"at most {n} pictures of a category, {how}", lambda _, target: id(target) in kept)


def _drawn(numbers: list[int], n: int, seed: int | None, category: str) -> list[int]:
    if seed is None or len(numbers) <= n:
        return numbers[:n]
    return Random(f"{seed} {category}").sample(numbers, n)


def _share(example: Example, target: Annotation) -> float:
    return target.area / prod(example.size or example.image.size)

"""The objects that an experiment is about, one after another."""

from collections.abc import Iterable
from dataclasses import dataclass

from vlm_lens.data.example import Annotation, Example


@dataclass(frozen=True, eq=False)
class Target:
    """An object in a picture.

    Attributes:
        example: the picture and all that is known of it.
        annotation: the object.
    """

    example: Example
    annotation: Annotation

    @property
    def id(self) -> str:
        """The picture's id and the object's place among its annotations: "480122/0", the same behind every filter."""
        return f"{self.example.id}/{self.example.annotations.index(self.annotation)}"


def targets(examples: Iterable[Example]) -> tuple[Target, ...]:
    """Each target of each example, in order; a picture with two is there twice.

    Which annotations are targets is said by the filters of `filters.py`, all of them until one chose.
    """
    return tuple(Target(example, annotation) for example in examples for annotation in example.targets)

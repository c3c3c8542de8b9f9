"""Examples in an order, where they came from, and what each filter left of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from vlm_lens.data.example import Annotation, Example
from vlm_lens.errors import InputError


@dataclass(frozen=True)
class Step:
    """A filter that a dataset went through.

    Attributes:
        name: what it keeps: "at most 3 annotations".
        n_before: examples before it.
        n_after: examples behind it.
        n_targets_before: objects that the experiment is about, before it; None where it looks at pictures alone.
        n_targets_after: the same, behind it.
    """

    name: str
    n_before: int
    n_after: int
    n_targets_before: int | None = None
    n_targets_after: int | None = None


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Example]):
    """Examples in a fixed order; reading one reads no pixel yet.

    Attributes:
        name: the format and where it lies: "coco /data/coco val2017".
        fingerprint: 16 hexadecimal digits of what is known of the examples (annotation files by content, pictures by
            name and size), the same on another machine and in another folder.
        examples: them.
        steps: the filters they went through.
    """

    name: str
    fingerprint: str
    examples: tuple[Example, ...]
    steps: tuple[Step, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Example | Dataset":
        if isinstance(index, slice):
            return replace(self, examples=self.examples[index])
        return self.examples[index]

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def where(self, name: str, keeps: Callable[[Example], bool]) -> "Dataset":
        """The examples that a filter keeps, with its counts among `steps`.

        Args:
            name: what it keeps, in words.
            keeps: says it of one example.
        """
        kept = tuple(one for one in self.examples if keeps(one))
        return replace(self, examples=kept, steps=(*self.steps, Step(name, len(self.examples), len(kept))))

    def about(self, name: str, keeps: Callable[[Example, Annotation], bool]) -> "Dataset":
        """The examples with those of their targets that a filter keeps; without any left, an example is dropped.

        An example keeps all its annotations: a picture of a cat and two dogs stays one when the dogs are no target.

        Args:
            name: what it keeps, in words.
            keeps: says it of one target of an example.
        """
        kept = []
        for one in self.examples:
            targets = tuple(target for target in one.targets if keeps(one, target))
            if targets:
                kept.append(replace(one, chosen=targets))
        n_after = sum(len(one.targets) for one in kept)
        step = Step(name, len(self.examples), len(kept), self.n_targets, n_after)
        return replace(self, examples=tuple(kept), steps=(*self.steps, step))

    @property
    def n_targets(self) -> int:
        """Objects that the experiment is about, over all examples."""
        return sum(len(one.targets) for one in self.examples)

    def some(self) -> "Dataset":
        """The dataset itself, if there is anything in it.

        Raises:
            InputError: nothing is left, with the count behind each filter.
        """
        if self.examples:
            return self
        told = "; ".join(f"{step.name}: {step.n_before} -> {step.n_after}" for step in self.steps) or "no filter"
        raise InputError(f"Dataset {self.name}", "at least one example", f"none ({told})", "Loosen a filter.")

    def __repr__(self) -> str:
        told = "".join(f"; {step.name}: {step.n_after}" for step in self.steps)
        return f"Dataset({self.name}: {len(self)} examples{told})"

"""The pictures with one large object of a class, up to so many of each class, of data that know of parts."""

from typing import Any

from vlm_lens.data import Annotation, Dataset, Example
from vlm_lens.data.selections import objects_with_parts


def chosen_objects(data: Dataset, options: Any) -> Dataset:
    """The filters of appendix A that need no model, each counted.

    Args:
        data: of which the annotations have parts.
        options: `PartOptions`.
    """

    def has_parts(example: Example, one: Annotation) -> bool:
        # Where a reader knows of no parts it leaves the field's default; no mask has to be read to see it.
        return one.read_parts is not dict

    left = data.about("an object whose parts are annotated", has_parts)
    return objects_with_parts(
        left, options.classes, options.least_share, options.most_per_class, seed=options.sample_seed
    )


def steps_told(data: Dataset) -> list[str]:
    """A sentence for each filter: what it keeps, with objects and pictures before and after."""
    return [
        f"{step.name}: {step.n_targets_before} -> {step.n_targets_after} objects, "
        f"{step.n_before} -> {step.n_after} pictures."
        for step in data.steps
    ]

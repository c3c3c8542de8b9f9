"""The conditions of a sweep: a list, a mapping by name, or a grid with named axes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from itertools import product
from typing import Any

import numpy as np

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.naming.described import described
from vlm_lens.errors import InputError

CLEAN = "clean"
"""The name of the run that nothing was done to."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What is attached in one run of a sweep.

    Attributes:
        name: what it is called.
        objects: interventions and probes, in order; none for the run that nothing is done to.
        axes: its place in a grid: the label on each axis.
    """

    name: str
    objects: tuple[Attachment, ...]
    axes: Mapping[str, str] = field(default_factory=dict)


class Grid:
    """Every combination of some axes: `Grid({"window": windows, "source": sources}, condition)`.

    Args:
        axes: for each axis its values by label, or a list of values (labelled as they are written).
        condition: is given one value of each axis, by the axis's name, and returns what is attached: one object,
            several, or `[]` for none.

    Raises:
        InputError: no axis, an axis without values or with one label twice, a function of other arguments.

    Example:
        >>> from vlm_lens import AttentionKnockout, Grid
        >>> grid = Grid({"start": range(4), "source": {"picture": "image", "words": "question"}},
        ...             lambda start, source: AttentionKnockout("last", source, layers=range(start, start + 2)))
        >>> grid
        Grid(start: 0, 1, 2, 3; source: picture, words; 8 conditions)
    """

    def __init__(self, axes: Any, condition: Callable[..., Any]) -> None:
        if not axes or not isinstance(axes, Mapping):
            rule = "at least one axis by its name: Grid({'layer': range(32)}, ...)"
            raise InputError("Axes of a grid", rule, repr(axes))
        self.axes = {str(name): _labelled(name, values) for name, values in axes.items()}
        self.condition = condition
        try:
            signature(condition).bind(**self.axes)
        except TypeError as error:
            rule = f"a function of its axes: lambda {', '.join(self.axes)}: ..."
            raise InputError("Condition of a grid", rule, f"one that does not take them ({error})") from None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each axis has."""
        return tuple(len(values) for values in self.axes.values())

    def conditions(self) -> list[Condition]:
        """One for each combination, the last axis fastest."""
        found = []
        for labels in product(*self.axes.values()):
            values = {name: self.axes[name][label] for name, label in zip(self.axes, labels, strict=True)}
            place = dict(zip(self.axes, labels, strict=True))
            name = ", ".join(f"{axis} {label}" for axis, label in place.items())
            found.append(Condition(name, _objects(name, self.condition(**values)), place))
        return found

    def __repr__(self) -> str:
        n_conditions = 1
        for n in self.shape:
            n_conditions *= n
        return f"Grid({'; '.join(f'{name}: {_few(list(labels))}' for name, labels in self.axes.items())}; " + (
            f"{n_conditions} conditions)"
        )


def conditions_of(given: Any) -> list[Condition]:
    """The conditions, with names that differ.

    Args:
        given: a `Grid`; a mapping `{name: objects}`; or a list of which each member is an object, several, or none.
            Members of a list go by their number, or by the names that all of their objects were given.

    Raises:
        InputError: none, something that cannot be attached, or one name twice.
    """
    if isinstance(given, Grid):
        found = given.conditions()
    elif isinstance(given, Mapping):
        found = [Condition(str(name), _objects(str(name), objects)) for name, objects in given.items()]
    elif isinstance(given, Iterable) and not isinstance(given, str | Attachment):
        found = [_of_list(number, member) for number, member in enumerate(given)]
    else:
        rule, advice = "a list, a mapping by name, or a Grid", "One condition alone is a list of one: [knockout]."
        raise InputError("Conditions of a sweep", rule, repr(given), advice)
    if not found:
        raise InputError("Conditions of a sweep", "at least one", "none")
    seen: set[str] = set()
    for one in found:
        if one.name in seen or one.name == CLEAN:
            is_clean = one.name == CLEAN
            rule = "another name than that of the run which nothing is done to" if is_clean else "each once"
            advice = "Name them: {'early': knockout, ...}, or give objects a name of their own."
            raise InputError("Names of conditions", rule, f"{one.name!r}{'' if is_clean else ' twice'}", advice)
        seen.add(one.name)
    return found


def _of_list(number: int, member: Any) -> Condition:
    objects = _objects(f"number {number}", member)
    is_named = objects and all(one.name for one in objects)
    return Condition(" + ".join(one.name for one in objects) if is_named else str(number), objects)


def _objects(name: str, given: Any) -> tuple[Attachment, ...]:
    """One object or several, as a tuple."""
    objects = (given,) if isinstance(given, Attachment) else given
    if not isinstance(objects, Sequence) or not all(isinstance(one, Attachment) for one in objects):
        raise InputError(f"Condition {name}", "interventions and probes: an object or a list of them", repr(given))
    return tuple(objects)


def _labelled(name: str, values: Any) -> dict[str, Any]:
    """The values of an axis by their labels."""
    if isinstance(values, str | Attachment) or not isinstance(values, Iterable):
        raise InputError(f"Axis {name!r} of a grid", "several values", repr(values), "One value is a list of one.")
    if isinstance(values, Mapping):
        labelled = {str(label): value for label, value in values.items()}
    else:
        values = list(values)
        labelled = {label_of(value): value for value in values}
    if not labelled or len(labelled) != len(values):
        got = "none" if not labelled else f"{len(values)} values with {len(labelled)} labels"
        advice = "Give them labels: {'early': range(0, 10), ...}."
        raise InputError(f"Axis {name!r} of a grid", "values with a label each", got, advice)
    return labelled


def label_of(value: Any) -> str:
    """What a value of an axis is called, where it was not given a label."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str) else str(described(value))


def _few(labels: list[str]) -> str:
    return ", ".join(labels) if len(labels) <= 6 else f"{', '.join(labels[:3])} ... {labels[-1]}"

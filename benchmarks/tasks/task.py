"""A task: what everyone does alike, and what must be computed at least."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.conditions import Blocked, Condition, Replaced
from benchmarks.rivals import Ours, Rival
from benchmarks.rivals.rival import Output
from benchmarks.sizes import Sizes

Verb = Callable[[Rival, Condition], Output]
Sweep = Callable[[Ours, Sequence[Condition]], list[Output]]


@dataclass(frozen=True, eq=False)
class Task:
    """Work that everyone does alike.

    Attributes:
        name: of the record and in the table.
        what: a line on what is done and what comes out.
        conditions: what is done to the model, one after the other.
        verb: what a rival does for one condition; the loop over them is its way.
        sweep: how this library does all of them at once; None where there is nothing to share.
        variants: other ways in which this library does one condition, by name.
        extra_rows: for each decoder layer the rows that must be computed besides one clean pass, of all conditions.
        n_unembedded: rows whose logits are wanted, of all conditions and states.
        runs_of_tower: passes of the vision tower that differ.
        n_new: tokens that are generated under each condition.
    """

    name: str
    what: str
    conditions: tuple[Condition, ...]
    verb: Verb
    sweep: Sweep | None = None
    variants: Mapping[str, Callable[[Ours, Condition], Output]] = field(default_factory=dict)
    extra_rows: tuple[int, ...] = ()
    n_unembedded: int = 1
    runs_of_tower: int = 1
    n_new: int = 0


def logits_of(rival: Rival, condition: Condition) -> Output:
    return rival.last_logits(condition.changes)


def text_of(rival: Rival, condition: Condition) -> Output:
    return rival.generated(condition.changes)


def lens_of(rival: Rival, condition: Condition) -> Output:
    return rival.lens(condition.changes, condition.patches)


def changed_rows(sizes: Sizes, conditions: Sequence[Condition]) -> tuple[int, ...]:
    """For each decoder layer how many rows differ from the clean pass and reach the last position, over all conditions.

    A change touches a first row at a first layer; there and behind, that row and all later ones differ. Of the last
    layer only the last row is read.
    """
    rows = [0] * sizes.decoder_layers
    for condition in conditions:
        touched = [first_touched(sizes, change) for change in condition.changes]
        for layer in range(sizes.decoder_layers):
            first = min((row for start, row in touched if start <= layer), default=None)
            if first is not None:
                rows[layer] += 1 if layer == sizes.decoder_layers - 1 else sizes.n_positions - first
    return tuple(rows)


def first_touched(sizes: Sizes, change: Blocked | Replaced) -> tuple[int, int]:
    """The first decoder layer and row that a change can alter."""
    if isinstance(change, Replaced):
        return 0, sizes.image_start + min(change.patches)
    if change.tower == "vision":
        return 0, sizes.image_start
    losing = [query for query in change.queries if query >= min(change.keys)]
    return min(change.layers), min(losing)

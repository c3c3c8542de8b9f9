"""What belongs at positions, looked up one by one: for a writer's `expected`, apart from the code that writes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlm_lens.attachments.here import Here
from vlm_lens.attachments.patching.source import Source
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.verification.asked import positions_of
from vlm_lens.layout import Except, PictureLayout, Region, Selector
from vlm_lens.model.hooked_root import position_axis


class Held(NamedTuple):
    """One position that a selector means and that an activation holds.

    Attributes:
        row: of the batch.
        position: absolute.
        number: which of the row's selected positions it is, counted from 0.
        place: where it is in the activation: `activation[place]`.
    """

    row: int
    position: int
    number: int
    place: tuple[Any, ...]


def held(selector: Selector, activation: Tensor, here: Here) -> Iterator[Held]:
    """The positions of an activation that a selector means, row by row; its rows where it has no positions."""
    if here.place == "none":
        yield from (Held(row, 0, 0, (row,)) for row in range(len(activation)))
        return
    between = [slice(None)] * (activation.ndim + position_axis(here.name) - 1)
    for row in range(len(activation)):
        for number, position in enumerate(positions_of(here.sequences, selector, row)):
            if position in here.span:
                yield Held(row, position, number, (row, *between, position - here.span.start))


def looked_up(given: Any, selector: Selector, before: Tensor, here: Here) -> Tensor:
    """An activation with given vectors at some positions.

    Args:
        given: a number; vectors `[*features]`, `[patch *features]`, `[pos *features]` or `[batch pos *features]`; or
            such by hook name.
        selector: where they belong.
        before: what stood there.
        here: where that is.
    """
    is_for_all = isinstance(given, Tensor | np.ndarray | float | int | list)
    vectors = torch.as_tensor(given if is_for_all else given[here.name])
    n_features = before.ndim - (1 if here.place == "none" else 2)
    left = before.clone()
    for one in held(selector, before, here):
        left[one.place] = _vector_of(one, vectors, n_features, here.sequences).to(left.device)
    return left


def _vector_of(one: Held, vectors: Tensor, n_features: int, sequences: Sequences) -> Tensor:
    if vectors.ndim in (0, n_features):
        return vectors
    if vectors.ndim == n_features + 2:
        return vectors[one.row, _place_in(sequences, one.position, vectors.shape[1])]
    if not isinstance(sequences, PictureLayout):
        n = len(vectors)
        if all(n in (span.grid.n_patches, span.n_positions) for spans in sequences.images for span in spans):
            for span in sequences.images[one.row]:
                places = span.patch_positions if n == span.grid.n_patches else span.positions
                if one.position in places:
                    return vectors[list(places).index(one.position)]
    return vectors[_place_in(sequences, one.position, len(vectors))]


def _place_in(sequences: Sequences, position: int, n: int) -> int:
    """The number of a position's vector among so many: class tokens may have none."""
    is_patches = isinstance(sequences, PictureLayout) and n == sequences.grid.n_patches
    return position - sequences.n_class_tokens if is_patches else position  # type: ignore[union-attr]


def brought_over(
    source: Source, selector: Selector, theirs: Any, chosen: int | None, before: Tensor, here: Here, unseen: float
) -> Tensor:
    """An activation with another run's at some positions, the first of a row's to the first.

    Args:
        source: the other run.
        selector: this run's positions.
        theirs: the source's; None for the same said of the source.
        chosen: the source's row for all; None for its only one, or the one alike.
        before: what stood there.
        here: where that is.
        unseen: what scores or pattern hold for a key that the source never had.
    """
    there = source.sequences(here.place, here.sequences)
    activation, left = source.activation(here.name).to(before.device), before.clone()
    axis = activation.ndim + position_axis(here.name)
    by_row = [_source_row(here.sequences, there, row, len(activation), chosen) for row in range(len(before))]
    sources = [] if here.place == "none" else [
        _counterparts(selector, theirs, here.sequences, there, row, source_row) for row, source_row in enumerate(by_row)
    ]  # fmt: skip
    for one in held(selector, before, here):
        row = by_row[one.row]
        if here.place == "none":
            left[one.place] = activation[row]
            continue
        if one.number >= len(sources[one.row]) or sources[one.row][one.number] >= activation.shape[axis]:
            continue  # generated later than anything the source has
        vector = activation[(row, *one.place[1:-1], sources[one.row][one.number])]
        if axis == 2:  # scores and pattern: one number for each key
            n_keys = min(vector.shape[-1], here.span.stop)
            left[one.place] = unseen
            left[one.place][..., :n_keys] = vector[..., :n_keys]
        else:
            left[one.place] = vector
    return left


def _source_row(here: Sequences, there: Sequences | None, row: int, n_there: int, chosen: int | None) -> int:
    """The source's row for one of this run's; of pictures the same image of its row."""
    if isinstance(here, PictureLayout) and isinstance(there, PictureLayout):
        mine, rows = here.pictures[row], sorted({picture.row for picture in there.pictures})
        of_row = chosen if chosen is not None else rows[0] if len(rows) == 1 else mine.row
        alike = [place for place, one in enumerate(there.pictures) if (one.row, one.image) == (of_row, mine.image)]
        return alike[0]
    if chosen is not None:
        return chosen
    return 0 if n_there == 1 else row


def _counterparts(
    selector: Any, theirs: Any, here: Sequences, there: Sequences | None, row: int, source_row: int
) -> list[int]:
    """The source's positions that go with this row's, ascending."""
    if there is None:
        return sorted(_meant(selector, row, here, row) if theirs is None else _meant(theirs, source_row, here, row))
    if theirs is not None:
        return sorted(_meant(theirs, source_row, there, source_row))

    def moved(region: Region) -> Iterable[int]:
        if isinstance(here, PictureLayout):
            assert isinstance(there, PictureLayout)
            is_here = (region.row, region.image) == (here.pictures[row].row, here.pictures[row].image)
            return [there.n_class_tokens + patch for patch in region] if is_here else []
        assert not isinstance(there, PictureLayout)
        if region.row != row:
            return []
        return [there.images[source_row][region.image].patch_positions[patch] for patch in region]

    return sorted(_meant(selector, row, there, source_row, moved))


def _meant(
    selector: Any, said_of: int, sequences: Sequences, row: int, moved: Callable[[Region], Iterable[int]] | None = None
) -> set[int]:
    """What a selector says of one row (`{1: "image"}` says it of row 1), in a row of some sequences.

    Args:
        selector: what is meant.
        said_of: the row that it speaks of.
        sequences: where the positions are.
        row: the row of these.
        moved: the positions of a region of other sequences; None for a region of these.
    """

    def meant(part: Any) -> set[int]:
        return _meant(part, said_of, sequences, row, moved)

    if isinstance(selector, Except):
        return meant(selector.positions) - meant(selector.but)
    if isinstance(selector, Region) and moved is not None:
        return set(moved(selector))
    if isinstance(selector, Mapping):
        return meant(selector[said_of]) if said_of in selector else set()
    if isinstance(selector, Tensor | np.ndarray):
        is_by_row = selector.ndim == 2 and str(selector.dtype) in ("bool", "torch.bool")
        return set(sequences.positions(selector[said_of] if is_by_row else selector, row))
    if isinstance(selector, Iterable) and not isinstance(selector, str | Region):
        parts = list(selector)
        if not all(isinstance(part, bool | np.bool_) for part in parts):
            return set().union(*map(meant, parts))
    return set(sequences.positions([selector], row))

"""Positions of this run matched with positions of another, row by row."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.errors import PositionError
from vlm_lens.layout import Except, PictureLayout, Region, Selector


class Match(NamedTuple):
    """One row of this run.

    Attributes:
        row: the source's row for it.
        targets: this run's positions, ascending.
        sources: the source's positions, ascending; the first goes to the first.
    """

    row: int
    targets: tuple[int, ...]
    sources: tuple[int, ...]


def matched(
    targets: Selector,
    sources: Selector | None,
    here: Sequences,
    there: Sequences | None,
    rows: tuple[int, ...],
    n_held: int,
) -> list[Match]:
    """The positions of each row of this run, and those that they are given.

    Args:
        targets: this run's positions.
        sources: the source's positions; None for the same selector there, a region being the same patches of its
            picture.
        here: this run's sequences.
        there: the source's; None if they are this run's own.
        rows: the source's row for each of this run's.
        n_held: how many positions the source's activations hold; later ones were not run.

    Raises:
        PositionError: positions that the source does not have.
    """
    found = []
    given = None if sources is None or there is None else there.mask(sources)
    for row, source_row in enumerate(rows):
        mine = _positions(here, selector_of_row(targets, row), row)
        if given is not None:
            theirs = tuple(given[source_row].nonzero().flatten().tolist())
        elif there is None:
            theirs = mine if sources is None else _positions(here, selector_of_row(sources, source_row), row)
        else:
            theirs = _positions(there, _moved(selector_of_row(targets, row), here, row, there, source_row), source_row)
        found.append(Match(source_row, mine, tuple(position for position in theirs if position < n_held)))
    return found


def source_rows(here: Sequences, there: Sequences | None, n_there: int, chosen: int | None) -> tuple[int, ...]:
    """The source's row (or picture) for each of this run's: its only one, the chosen one, or the one alike.

    Args:
        here: this run's sequences.
        there: the source's, where they are known.
        n_there: how many rows the source has.
        chosen: the source's row for all; the row of its decoder where pictures are counted.

    Raises:
        PositionError: rows that do not go together.
    """
    if isinstance(here, PictureLayout) and isinstance(there, PictureLayout):
        return _source_pictures(here, there, chosen)
    if chosen is not None:
        if not 0 <= chosen < n_there:
            raise PositionError("source_row", f"a row of the source, from 0 to {n_there - 1}", chosen)
        return (chosen,) * here.n_rows
    if n_there not in (1, here.n_rows):
        raise PositionError(
            "Rows of the source do not match this run", f"1 row, or {here.n_rows} as here", f"{n_there} rows",
            "Say which one all rows are given by source_row=.",
        )  # fmt: skip
    return (0,) * here.n_rows if n_there == 1 else tuple(range(here.n_rows))


def _source_pictures(here: PictureLayout, there: PictureLayout, chosen: int | None) -> tuple[int, ...]:
    """The same image of the source's row."""
    rows = {picture.row for picture in there.pictures}
    only = next(iter(rows)) if len(rows) == 1 else None
    place_of = {(picture.row, picture.image): place for place, picture in enumerate(there.pictures)}
    found = []
    for picture in here.pictures:
        row = chosen if chosen is not None else only if only is not None else picture.row
        if (row, picture.image) not in place_of:
            known = "; ".join(one.label for one in there.pictures[:8])
            wanted = f"row {row}, image {picture.image}"
            raise PositionError("Picture has no counterpart in the source", f"one of {known}", wanted)
        found.append(place_of[row, picture.image])
    return tuple(found)


def selector_of_row(selector: Any, row: int) -> Any:
    """What a selector means in one row, said without the row's number: `{1: "image"}` and masks `[batch pos]`.

    Regions stay, since they count in their own row alone: they become no positions in another.
    """
    if isinstance(selector, Except):
        return Except(selector_of_row(selector.positions, row), but=selector_of_row(selector.but, row))
    if isinstance(selector, Mapping):
        return selector_of_row(selector[row], row) if row in selector else ()
    if isinstance(selector, Tensor | np.ndarray):
        return selector[row] if selector.ndim == 2 and _is_boolean(selector) else selector
    if isinstance(selector, Iterable) and not isinstance(selector, str | Region):
        return [selector_of_row(one, row) for one in selector]
    return selector


def _positions(sequences: Sequences, selector: Any, row: int) -> tuple[int, ...]:
    """The positions of one row; a region of another row has none, and is no error, as in a mask of the batch."""
    return sequences.positions([selector], row)


def _is_boolean(array: Any) -> bool:
    return str(array.dtype) in ("bool", "torch.bool")


def _moved(selector: Any, here: Sequences, row: int, there: Sequences, source_row: int) -> Any:
    """A selector of one row, with its regions moved to the source's picture."""
    if isinstance(selector, Except):
        both = (_moved(one, here, row, there, source_row) for one in (selector.positions, selector.but))
        return Except(next(both), but=next(both))
    if isinstance(selector, Region):
        return _moved_region(selector, here, row, there, source_row)
    if isinstance(selector, list):
        return [_moved(one, here, row, there, source_row) for one in selector]
    return selector


def _moved_region(region: Region, here: Sequences, row: int, there: Sequences, source_row: int) -> Any:
    if isinstance(here, PictureLayout):
        assert isinstance(there, PictureLayout)
        mine, picture = here.pictures[row], there.pictures[source_row]
        if (region.row, region.image) != (mine.row, mine.image):
            return ()
        if picture.span is None:
            return [there.n_class_tokens + patch for patch in region]
        return region.on(picture.span, row=picture.row, image=picture.image)
    assert not isinstance(there, PictureLayout)
    if region.row != row:
        return ()
    return region.on(there.image_span(region.image, source_row), row=source_row, image=region.image)

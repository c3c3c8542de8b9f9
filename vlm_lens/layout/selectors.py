"""Selectors: the ways to say which positions are meant, and how each is resolved."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, SupportsIndex

import numpy as np
from torch import Tensor

from vlm_lens.errors import PositionError
from vlm_lens.layout.regions import Region


@dataclass(frozen=True)
class Except:
    """Some positions without others: `Except("image", but=cat)`, `Except("prompt_text", but="last")`.

    Attributes:
        positions: where to start from.
        but: what is left out of it.
    """

    positions: Any
    but: Any


Selector = str | Region | Except | SupportsIndex | slice | Tensor | np.ndarray | Mapping | Iterable
"""A name, a region, an int, a slice, a boolean mask [pos] or [batch pos], or several of these together.

`{row: selector}` says it row by row of the batch; `Except(these, but=those)` leaves some out.

Ints and slice bounds below zero count back from the end of the prompt, so that they keep their
meaning while tokens are generated: -1 is the last prompt position. Bounds outside the sequence are
refused, as ints are, and not clipped.
"""


COUNTED_IN_THE_ROW = "Positions are absolute in the padded row; negative ones count from the prompt's end."


def resolve(
    selector: object,
    row: int,
    *,
    n_rows: int,
    n_positions: int,
    n_prompt: int,
    n_planned: int,
    name_to_positions: Callable[[str], Iterable[int]],
    region_to_positions: Callable[[Region], Iterable[int]],
    counting: str = COUNTED_IN_THE_ROW,
) -> set[int]:
    """The positions in one row that a selector means.

    Args:
        selector: what is meant.
        row: the row of the batch.
        n_rows: the rows of the batch.
        n_positions: the positions that there are.
        n_prompt: where negative positions count back from.
        n_planned: the positions that there will be: those to come may be named, and mean nothing yet.
        name_to_positions: what a name means.
        region_to_positions: what a region means.
        counting: how numbers count; said to who gives one that does not exist.

    Raises:
        PositionError: a position that the row does not have, a mask of another length, a row that
            the batch does not have, or something that is no selector.
    """
    n_planned = max(n_positions, n_planned)

    def resolved(part: object) -> set[int]:
        return resolve(
            part, row, n_rows=n_rows, n_positions=n_positions, n_prompt=n_prompt, n_planned=n_planned,
            name_to_positions=name_to_positions, region_to_positions=region_to_positions, counting=counting,
        )  # fmt: skip

    if isinstance(selector, str):
        return set(name_to_positions(selector))
    if isinstance(selector, Region):
        return set(region_to_positions(selector))
    if isinstance(selector, Except):
        return resolved(selector.positions) - resolved(selector.but)
    if isinstance(selector, Mapping):
        _check_rows(selector, n_rows)
        return resolved(selector[row]) if row in selector else set()
    if isinstance(selector, slice):
        return _from_slice(selector, n_positions, n_prompt, n_planned, counting)
    if isinstance(selector, np.ndarray | Tensor):
        array = np.asarray(selector.detach().cpu() if isinstance(selector, Tensor) else selector)
        if array.dtype == bool:
            return _from_mask(array, row, n_rows, n_positions, n_prompt, n_planned)
        _check_is_no_mask(array)
        return _from_ints(np.atleast_1d(array).ravel().tolist(), n_positions, n_prompt, n_planned, counting)
    if isinstance(selector, Iterable):
        members = list(selector)
        if members and all(isinstance(member, bool | np.bool_) for member in members):
            return _from_mask(np.array(members), row, n_rows, n_positions, n_prompt, n_planned)
        return set().union(*map(resolved, members))
    return _from_ints([selector], n_positions, n_prompt, n_planned, counting)


def unknown_name(
    name: str, known: Iterable[str], elsewhere: Iterable[str] = (), where: str = "", otherwise: str = ""
) -> PositionError:
    """The error for a name that means no positions, with the nearest that does.

    Args:
        name: what was asked for.
        known: the names that mean positions here.
        elsewhere: names that mean positions in another tower.
        where: is said of these.
        otherwise: what a word that is no name at all may have been meant for.
    """
    known = list(known)
    nearest = get_close_matches(name, known, n=1)
    advice = f"Did you mean {nearest[0]!r}?" if nearest else otherwise
    if name in elsewhere:
        advice = f"{name!r} is a name of {where}."
    return PositionError("Unknown name of positions", f"one of {', '.join(known)}", repr(name), advice)


def _check_rows(selector: Mapping, n_rows: int) -> None:
    if beyond := [row for row in selector if isinstance(row, bool) or row not in range(n_rows)]:
        raise PositionError(
            "Row of the batch does not exist", f"rows from 0 to {n_rows - 1} as the keys of {{row: selector}}", beyond
        )


def _check_is_no_mask(array: np.ndarray) -> None:
    """Positions 0 and 1 again and again are a mask that lost its type."""
    if array.ndim and array.size > 2 and array.dtype.kind in "iu" and np.isin(array, (0, 1)).all():
        raise PositionError(
            "Selector is ambiguous", "positions, each once, or a boolean mask",
            f"{array.size} integers, all of them 0 or 1", "For a mask, make it boolean: mask.astype(bool).",
        )  # fmt: skip


def _from_ints(values: list[object], n_positions: int, n_prompt: int, n_planned: int, counting: str) -> set[int]:
    absolute = {_from_int(value, n_planned, n_prompt, counting) for value in values}
    return {position for position in absolute if position < n_positions}


def _from_int(value: object, n_positions: int, n_prompt: int, counting: str) -> int:
    position = _integer(value)
    absolute = position + n_prompt if position < 0 else position
    if not 0 <= absolute < n_positions:
        raise PositionError(
            "Position does not exist",
            f"{-n_prompt} <= position < {n_positions}",
            position,
            counting,
        )
    return absolute


def _from_slice(selector: slice, n_positions: int, n_prompt: int, n_planned: int, counting: str) -> set[int]:
    """The positions between two bounds, which must exist as those of a range must: Python's own slices clip them."""

    def absolute(bound: object) -> int | None:
        if bound is None:
            return None
        place = _integer(bound)
        if not -n_prompt <= place <= n_planned:
            rule = f"bounds from {-n_prompt} to {n_planned}, or open ones"
            raise PositionError("Slice leaves the positions that there are", rule, selector, counting)
        return place + n_prompt if place < 0 else place

    if selector.step is not None and _integer(selector.step) < 1:
        raise PositionError("Slice of positions failed", "a step of 1 or more", selector)
    bounds = slice(absolute(selector.start), absolute(selector.stop), selector.step)
    return set(range(n_positions)[bounds])


def _integer(value: object) -> int:
    if isinstance(value, bool | float | np.bool_):
        raise _no_selector(value)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _no_selector(value) from None


def _from_mask(mask: np.ndarray, row: int, n_rows: int, n_positions: int, n_prompt: int, n_planned: int) -> set[int]:
    if mask.ndim not in (1, 2) or mask.shape[-1] not in (n_prompt, n_positions, n_planned):
        lengths = " or ".join(map(str, dict.fromkeys((n_prompt, n_planned))))
        raise PositionError(
            "Mask of positions does not match the sequence",
            f"a boolean [pos] or [batch pos] with {lengths} positions",
            list(mask.shape),
            "A mask over pixels becomes a region with layout.region(mask), one over patches with layout.patches(mask).",
        )
    if mask.ndim == 2 and mask.shape[0] != n_rows:
        raise PositionError(
            "Mask of positions does not match the batch", f"a boolean [batch pos] with {n_rows} rows", list(mask.shape)
        )
    chosen = mask[row] if mask.ndim == 2 else mask
    return set(np.flatnonzero(chosen[:n_positions]).tolist())


def _no_selector(value: object) -> PositionError:
    return PositionError(
        "Selector is not understood",
        "a name, a region, an int, a slice, a boolean mask, {row: selector}, or a list of these",
        f"{type(value).__name__} {value!r}",
    )

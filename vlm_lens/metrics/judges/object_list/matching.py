"""Which objects of two captions are the same."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from vlm_lens.metrics.judges.object_list.lexicon import Lexicon
from vlm_lens.metrics.judges.object_list.thing import Thing

_SAME_NAME = 1000.0
"""Outweighs any number of pairs of broader names, so that a person stays a person's partner."""


def matches(reference: Sequence[Thing], candidate: Sequence[Thing], lexicon: Lexicon) -> list[tuple[int, int]]:
    """Pairs of indices of the same things.

    First one to one: as many pairs as there can be, equal names before broader ones. Then a broader name in the plural
    that has no partner of its own name takes every narrower thing that is left: children, of a boy and a girl.
    """
    if not reference or not candidate:
        return []
    worth = np.array([[_worth(one, other, lexicon) for other in candidate] for one in reference])
    rows, columns = linear_sum_assignment(worth, maximize=True)
    pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if worth[row, column]]
    taken_rows, taken_columns = {row for row, _ in pairs}, {column for _, column in pairs}
    exact = [pair for pair in pairs if worth[pair] == _SAME_NAME]
    for column, other in enumerate(candidate):
        if other.is_several and column not in {column for _, column in exact}:
            others = [row for row in range(len(reference)) if row not in taken_rows]
            left = [row for row in others if _covers(other, reference[row], lexicon)]
            pairs += [(row, column) for row in left]
            taken_rows.update(left)
    for row, one in enumerate(reference):
        if one.is_several and row not in {row for row, _ in exact}:
            others = [column for column in range(len(candidate)) if column not in taken_columns]
            left = [column for column in others if _covers(one, candidate[column], lexicon)]
            pairs += [(row, column) for column in left]
            taken_columns.update(left)
    return sorted(pairs)


def is_broader(name: str, other: str, lexicon: Lexicon) -> bool:
    """Whether the first name is a broader one of the second: vehicle of car, stuffed animal of stuffed rabbit."""
    if other.startswith("stuffed ") and other != "stuffed animal":
        return name in ("stuffed animal", "toy")
    return name in lexicon.broader.get(other, ())


def can_be_one(names: Sequence[str], others: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether all names of one thing fit all names of another."""
    return all(_fit(name, other, lexicon) for name in names for other in others)


def _fit(name: str, other: str, lexicon: Lexicon) -> bool:
    if name == other or is_broader(name, other, lexicon) or is_broader(other, name, lexicon):
        return True
    if {lexicon.group_of.get(name), lexicon.group_of.get(other)} != {"people"}:
        return False
    one, another = lexicon.traits.get(name, {}), lexicon.traits.get(other, {})
    if any(one[trait] != another[trait] for trait in one.keys() & another.keys()):
        return False
    # A man can be the cyclist of the other caption; a skier cannot.
    return (name in lexicon.roleless) != (other in lexicon.roleless) or bool(one and another and name != other)


def _worth(one: Thing, other: Thing, lexicon: Lexicon) -> float:
    if set(one.names) & set(other.names):
        return _SAME_NAME
    return 1.0 if can_be_one(one.names, other.names, lexicon) else 0.0


def _covers(broad: Thing, narrow: Thing, lexicon: Lexicon) -> bool:
    if can_be_one(broad.names, narrow.names, lexicon):
        return any(is_broader(name, other, lexicon) for name in broad.names for other in narrow.names)
    return False

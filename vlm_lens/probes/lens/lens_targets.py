"""The words that a lens is asked for, as groups of outputs."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vlm_lens.errors import InputError

Groups = dict[str, tuple[int, ...]]
"""For each name the outputs whose probabilities are summed."""


def target_groups(targets: Any, n_outputs: int, id_of: Callable[[str], int], name_of: Callable[[int], str]) -> Groups:
    """Targets as named groups of outputs.

    Args:
        targets: None; a token id or a string that is one token; several of these, each a target; or a mapping from a
            name to one or several aliases.
        n_outputs: how many outputs there are.
        id_of: from a string to its output; raises `InputError` where it is none.
        name_of: from an output to its name.

    Raises:
        InputError: a string of several tokens, an id outside the vocabulary, a name without aliases, the same target
            twice.
    """

    def output(alias: Any) -> int:
        if isinstance(alias, str):
            return id_of(alias)
        try:
            number = operator.index(alias)
        except TypeError:
            raise InputError("Targets of the lens", "token ids and strings", repr(alias)) from None
        if isinstance(alias, bool) or not 0 <= number < n_outputs:
            raise InputError("Targets of the lens", f"ids from 0 to {n_outputs - 1}", alias)
        return number

    if targets is None:
        return {}
    if isinstance(targets, Mapping):
        # One token written two ways, " cat" and "▁cat", is counted once.
        groups = {str(name): tuple(dict.fromkeys(map(output, _several(one)))) for name, one in targets.items()}
        if empty := [name for name, group in groups.items() if not group]:
            raise InputError("Targets of the lens", "at least one alias for each name", f"none for {empty[0]!r}")
        return groups
    ids = [output(alias) for alias in _several(targets)]
    if repeated := [one for one in ids if ids.count(one) > 1]:
        raise InputError("Targets of the lens", "each once", f"{name_of(repeated[0])!r} {ids.count(repeated[0])} times")
    return {name_of(one): (one,) for one in ids}


def check_apart(groups: Groups, names_of: Callable[[Sequence[int]], list[str]]) -> None:
    """Groups that are merged, each into one output, have none in common.

    Args:
        groups: of outputs.
        names_of: from outputs to their names.

    Raises:
        InputError: an output belongs to two of them.
    """
    owners: dict[int, str] = {}
    for name, group in groups.items():
        for output in group:
            if output in owners:
                got = f"{names_of([output])[0]!r} among those of {owners[output]!r} and of {name!r}"
                advice = "Leave it to one of them, or rank each by itself with merges_targets=False."
                raise InputError("Targets of the lens", "merged targets without a common alias", got, advice)
            owners[output] = name


def _several(value: Any) -> Iterable[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]

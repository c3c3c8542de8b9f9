"""Groups of keys: names for who may be attended to, so that the shares of a query's attention sum to 1."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.naming.described import described
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.ground import available, mask_of
from vlm_lens.errors import EmptySelectionError, InputError, PositionError
from vlm_lens.layout import ROLES, Except, PictureLayout, Selector

OTHER = "other"
UNKNOWN = "text"


@dataclass(frozen=True, eq=False)
class KeyGroups:
    """Groups that a user gave, and those that hold the rest.

    Attributes:
        given: a name for each selector; they may not overlap.
        rest: "other" for one group of everything else, "roles" to tell it apart by role.
    """

    given: Mapping[str, Selector]
    rest: str

    def check_names(self, what: str) -> None:
        """Raise for names that the rest takes for itself.

        Raises:
            InputError: "other", or one that ends like a divided role.
        """
        taken = [name for name in self.given if name == OTHER or name.endswith(_elsewhere(""))]
        if taken:
            raise InputError(what, f"groups without {OTHER!r} and '...: elsewhere', which hold the rest", taken)

    def selectors(self, sequences: Sequences) -> dict[str, Selector]:
        """Every group that could occur, given ones first; together they are all positions but padding."""
        parts = ("cls", "patches") if isinstance(sequences, PictureLayout) else tuple(r for r in ROLES if r != "pad")
        if not self.given:
            return {part: part for part in parts}
        taken = list(self.given.values())
        if self.rest == "roles":
            left: dict[str, Selector] = {_elsewhere(part): Except(part, but=taken) for part in parts}
        else:
            left = {OTHER: Except("all", but=taken)}
        return {**self.given, **left}

    def membership(self, sequences: Sequences) -> Bool[Tensor, "batch pos group"]:
        """Which position belongs to which group."""
        return torch.stack([sequences.mask(one) for one in self.selectors(sequences).values()], dim=-1)

    def names(self, sequences: Sequences) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The groups that a whole run had, by number and by name; given ones are kept even where they are empty.

        A role of which a given group holds a part is called "image: elsewhere". Where nothing is known of the positions
        but that they are there, as in a stream or in plain tokens, they are "text".
        """
        occurs = self.membership(sequences).flatten(0, 1).any(dim=0).tolist()
        names = list(self.selectors(sequences))
        kept = [number for number, name in enumerate(names) if occurs[number] or name in self.given]
        shown = tuple(self._shown(names[number], sequences) for number in kept)
        if not self.given and not _knows_roles(sequences):
            shown = tuple(UNKNOWN if name == "question" else name for name in shown)
        return tuple(kept), shown

    def check(self, one: object, sequences: Sequences, on_empty: str) -> None:
        """Raise for groups that overlap or that are empty.

        Raises:
            PositionError: with a position that two groups claim.
            EmptySelectionError: a given group that never occurs, unless it may be skipped: its share is 0 then.
        """
        masks: dict[str, Tensor] = {}
        for name, selector in self.given.items():
            mask = mask_of(one, f"groups[{name!r}]", selector, sequences)
            if on_empty == "raise" and not bool(mask.any()):
                raise EmptySelectionError(
                    f"groups[{name!r}] of {one!r}",
                    f"positions that occur ({available(sequences)})",
                    f"none for {selector!r}",
                    "on_empty='skip' gives an empty group a share of 0.",
                )
            for other, before in masks.items():
                if bool((mask & before).any()):
                    row, position = torch.nonzero(mask & before)[0].tolist()
                    sizes = {other: int(before.sum()), name: int(mask.sum())}
                    larger, smaller = sorted((other, name), key=lambda group: -sizes[group])
                    raise PositionError(
                        f"groups of {one!r}",
                        "groups without a common position, or shares would not sum to 1",
                        f"position {position} of row {row} in {other!r} and in {name!r}",
                        f"Leave one out of the other: {larger!r}: Except({described(self.given[larger])}, "
                        f"but={described(self.given[smaller])}).",
                    )
            masks[name] = mask

    def _shown(self, name: str, sequences: Sequences) -> str:
        part = name.removesuffix(_elsewhere(""))
        if part == name or part in self.given:
            return name
        is_divided = sequences.mask(part) & sequences.mask(list(self.given.values()))
        return name if bool(is_divided.any()) else part


def _knows_roles(sequences: Sequences) -> bool:
    """Whether more is known of a prompt than which of its positions are padding: a role, or a position's text."""
    if isinstance(sequences, PictureLayout):
        return True
    rows = range(sequences.n_rows)
    has_roles = any(set(sequences.roles(row)) - {"pad", "question", "generated"} for row in rows)
    return has_roles or any(any(sequences.strings[row][: sequences.n_prompt]) for row in rows)


def _elsewhere(part: str) -> str:
    return f"{part}: elsewhere"

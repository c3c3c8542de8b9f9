"""What is known before the model runs, for attachments to check themselves against."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.naming.hook_names import check_heads
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.current_pass import CurrentPass, Sequences
from vlm_lens.errors import EmptySelectionError, PositionError
from vlm_lens.layout import DERIVED_NAMES, PictureLayout

POSITION_FIELDS = ("positions", "queries", "keys")


@dataclass(frozen=True, eq=False)
class Ground:
    """All positions that will be run, those still to be generated included.

    Attributes:
        model: what will run.
        planned: a pass as long as the longest to come.
    """

    model: Any
    planned: CurrentPass

    def sequences_at(self, hook_name: str) -> Sequences | None:
        """The sequences whose positions a hook's activations have; None where they are unknown, or have none."""
        return self.planned.sequences(place_of(self.model, hook_name))

    def check_positions(self, one: Any, hook_names: list[str]) -> None:
        """Raise for a field of positions that means none at any of the hooks.

        Raises:
            EmptySelectionError: with the names that have positions here.
            PositionError: for positions that cannot be told at all.
        """
        # Hooks of one place share their sequences: one of each is enough.
        hooks = {place_of(self.model, name): name for name in hook_names}
        for field in POSITION_FIELDS:
            if not hasattr(one, field):
                continue
            selector = getattr(one, field)
            for name in hooks.values():
                sequences = self.sequences_at(name)
                if sequences is None:
                    continue
                if not bool(mask_of(one, field, selector, sequences).any()):
                    raise EmptySelectionError(
                        f"{field} of {one!r}",
                        f"positions that occur ({available(sequences)})",
                        f"none for {selector!r}",
                        "Generated positions exist under generate alone; on_empty='skip' allows an empty selection.",
                    )

    def check_heads(self, one: Any, hook_names: list[str]) -> None:
        """Raise for heads that the hooks do not have.

        Raises:
            HookError: see `hook_names.check_heads`.
        """
        for name in hook_names:
            check_heads(self.model, name, one.field("heads", None))


def mask_of(one: Any, field: str, selector: Any, sequences: Sequences) -> Bool[Tensor, "batch pos"]:
    """The positions that a field means.

    Raises:
        PositionError: positions that do not exist; it says whose field it is.
    """
    try:
        return sequences.mask(selector)
    except PositionError as error:
        what = f"{field} of {one!r}: {error.what}"
        raise PositionError(what, error.expected, error.got, error.advice) from None


def available(sequences: Sequences) -> str:
    """The names that mean positions here, with how many in the first row."""
    if isinstance(sequences, PictureLayout):
        names = ["cls", "patches", "last_row", "all"]
    else:
        names = list(dict.fromkeys((*sequences.roles(), *DERIVED_NAMES)))
    counts = {name: len(sequences.positions(name)) for name in names}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)

"""What is known before the model runs, for attachments to check themselves against."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.naming.hook_names import check_heads
from vlm_lens.attachments.naming.towers import Place, place_of
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
        return self.planned.sequences(self.place_at(hook_name))

    def place_at(self, hook_name: str) -> Place:
        """Whose positions a hook's activations have; told once."""
        memo, key = self.planned.memo, ("place", hook_name)
        if key not in memo:
            memo[key] = place_of(self.model, hook_name)
        place: Place = memo[key]
        return place

    def check_positions(self, one: Any, hook_names: list[str]) -> None:
        """Raise for a field of positions that means none at any of the hooks.

        Raises:
            EmptySelectionError: with the names that have positions here.
            PositionError: for positions that cannot be told at all.
        """
        # Hooks of one place share their sequences: one of each is enough.
        hooks = {self.place_at(name): name for name in hook_names}
        for field in POSITION_FIELDS:
            if not hasattr(one, field):
                continue
            selector = getattr(one, field)
            for name in hooks.values():
                sequences = self.sequences_at(name)
                if sequences is None:
                    continue
                if not self._means_any(one, field, selector, self.place_at(name), sequences):
                    raise EmptySelectionError(
                        f"{field} of {one!r}",
                        f"positions that occur ({available(sequences)})",
                        f"none for {selector!r}",
                        "Generated positions exist under generate alone; on_empty='skip' allows an empty selection.",
                    )

    def _means_any(self, one: Any, field: str, selector: Any, place: Place, sequences: Sequences) -> bool:
        """Whether a field means any position; looked up once for a selector that several hold."""
        memo, key = self.planned.memo, ("any", id(selector), place)
        if key not in memo:
            memo[key] = selector, bool(mask_of(one, field, selector, sequences).any())  # kept, so that its id stays
        found: bool = memo[key][1]
        return found

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

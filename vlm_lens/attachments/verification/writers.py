"""Writers other than blockers, each against what it says: values in their places, and every other bit kept."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.hook_names import heads_of
from vlm_lens.attachments.naming.towers import head_axis
from vlm_lens.attachments.position_writer import PositionWriter
from vlm_lens.attachments.running.standing import Watcher
from vlm_lens.attachments.verification.asked import positions_of
from vlm_lens.attachments.verification.finding import Finding, title_of
from vlm_lens.attachments.verification.tally import Tally
from vlm_lens.errors import VerificationError
from vlm_lens.model.hooked_root import position_axis


class WriterProof(Watcher):
    """Sees every activation right before and right after each writer, in the first replay."""

    def __init__(self) -> None:
        self.fired: set[int] = set()
        self.tallies: dict[int, Tally] = {}
        self.unsteady: set[int] = set()
        self.asked_itself: set[int] = set()
        self.changed: set[int] = set()
        self.largest_change: dict[int, float] = {}
        self.hooks: dict[int, set[str]] = {}
        self._before: Tensor | None = None

    def before(self, writer: Writer, activation: Tensor, here: Here) -> None:
        """Kept until the writer has written."""
        self._before = activation.clone() if writer.edits_in_place else activation

    def after(self, writer: Writer, activation: Tensor, here: Here) -> None:
        """What was written, against what should have been.

        Raises:
            VerificationError: at the first hook where that differs.
        """
        self.fired.add(id(writer))
        self.hooks.setdefault(id(writer), set()).add(here.name)
        before, self._before = self._before, None
        if isinstance(writer, EdgeBlocker) or before is None:
            return
        tally = self.tallies.setdefault(id(writer), Tally())
        if not isinstance(writer, PositionWriter):
            is_changed = not bool(same_numbers(before, activation).all())
            self.changed |= {id(writer)} if is_changed else set()
            tally.add(here, int(is_changed))
        else:
            selected = entries_of(writer, activation, here)
            check_kept(writer, before, activation, selected, here)
            self._check_written(writer, before, activation, selected, here)
            tally.n_heads = max(tally.n_heads, n_heads_written(writer, activation, here))
            tally.add(here, n_positions_written(writer, here))
        if activation.dtype != torch.bool:
            change = float((activation.float() - before.float()).nan_to_num().abs().max())
            scale = float(before.float().nan_to_num(neginf=0.0).abs().max()) or 1.0
            self.largest_change[id(writer)] = max(self.largest_change.get(id(writer), 0.0), change / scale)

    def finding(self, writer: Writer) -> Finding | None:
        """What was found about a writer; None for a blocker, whose masks tell."""
        if isinstance(writer, EdgeBlocker):
            return None
        tally, change = self.tallies[id(writer)], self.largest_change.get(id(writer), 0.0)
        moved = f"by {change:.2g} of the largest value at most"
        if not isinstance(writer, PositionWriter):
            if id(writer) not in self.changed:
                rule, got = "an activation that it changes", f"none at {', '.join(sorted(self.hooks_of(writer)))}"
                advice = "Does `write` return what it made, and do its positions occur?"
                raise VerificationError(f"{writer!r} did nothing", rule, got, advice)
            moved = f" {moved}" if id(writer) in self.largest_change else ""  # a mask has no values
            return tally.finding(title_of(writer), f"was called, and changed activations{moved}", "changed activations")
        if id(writer) in self.unsteady:
            check = f"every bit outside its positions is kept, and inside they change {moved}"
        elif id(writer) in self.asked_itself:
            check = (
                "its positions hold what it says, by its own `value` asked again "
                f"(changed {moved}), and every other bit is kept"
            )
        else:
            check = (
                "its positions hold what it says, worked out apart by its `expected` "
                f"(changed {moved}), and every other bit is kept"
            )
        return tally.finding(title_of(writer), check, "positions", id(writer) not in self.unsteady | self.asked_itself)

    def hooks_of(self, writer: Writer) -> set[str]:
        """Where a writer was called."""
        return self.hooks.get(id(writer), set())

    def _check_written(
        self, writer: PositionWriter, before: Tensor, after: Tensor, selected: Tensor, here: Here
    ) -> None:
        """What stands at the selected entries, against what the writer says belongs there."""
        expected = expected_of(writer, before, here)
        if expected is None:
            expected = said_by(writer, before, here)
            (self.unsteady if expected is None else self.asked_itself).add(id(writer))
        if expected is None:
            return
        is_equal = same_numbers(after, expected)
        if not bool((is_equal | ~selected).all()):
            difference = (after.float() - expected.float()).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
            n_wrong = int((~is_equal & selected).sum())
            is_apart = id(writer) not in self.asked_itself
            raise VerificationError(
                f"{writer!r} at {here.name}, step {here.step}",
                "its positions to hold what it says, to the bit",
                f"{n_wrong} values that differ, by {float(difference[(~is_equal & selected)].max()):.3g} at most",
                "A class whose `value` differs from its parent's needs an `expected` of its own." if is_apart else "",
            )


class NoiseBefore(Watcher):
    """Puts noise in the place of what overwriting writers are about to replace.

    Args:
        writers: those that say that nothing of it is left.
    """

    def __init__(self, writers: Sequence[PositionWriter]) -> None:
        self.writers = writers

    def before(self, writer: Writer, activation: Tensor, here: Here) -> Tensor | None:
        """The activation with noise where the writer will write."""
        if not any(writer is one for one in self.writers):
            return None
        assert isinstance(writer, PositionWriter)
        return torch.where(entries_of(writer, activation, here), noise_like(activation, here), activation)


def expected_of(writer: PositionWriter, before: Tensor, here: Here) -> Tensor | None:
    """What belongs at a writer's positions, by a method `expected` apart from its `value`; None where it has none.

    Returns:
        A tensor that is read at the selected entries.
    """
    expected = writer.field("expected", None)
    said: Tensor | None = None if expected is None else expected(before, here)
    return None if said is None else said.to(before.device, before.dtype).expand_as(before)


def said_by(writer: PositionWriter, before: Tensor, here: Here) -> Tensor | None:
    """What a writer's own `value` says it leaves; None if that is never twice the same.

    Returns:
        A tensor that is read at the selected entries.
    """
    first, second = (writer.value(before, here).to(before.device, before.dtype) for _ in range(2))
    return first.expand_as(before) if bool(same_numbers(first, second).all()) else None


def check_kept(writer: PositionWriter, before: Tensor, after: Tensor, selected: Tensor, here: Here) -> None:
    """Raise if a writer touched anything but its own positions and heads.

    Raises:
        VerificationError: with how many values it touched.
    """
    touched = ~same_numbers(before, after) & ~selected
    if bool(touched.any()):
        place = touched.nonzero()[0].tolist()
        raise VerificationError(
            f"{writer!r} at {here.name}, step {here.step}",
            "every value outside its positions and heads to keep its bits",
            f"{int(touched.sum())} that differ, the first at {place}",
        )


def entries_of(writer: PositionWriter, activation: Tensor, here: Here) -> Bool[Tensor, "..."]:
    """True at the entries of an activation that a writer means, worked out apart from the code that writes."""
    selected = torch.zeros(activation.shape, dtype=torch.bool)
    if here.place == "none":
        return ~selected.to(activation.device)
    positions = torch.zeros(activation.shape[0], len(here.span), dtype=torch.bool)
    for row in range(activation.shape[0]):
        held = [position - here.span.start for position in _positions(writer, here, row) if position in here.span]
        positions[row, held] = True
    shape = [1] * activation.ndim
    axis = activation.ndim + position_axis(here.name)
    shape[0], shape[axis] = positions.shape
    selected |= positions.view(shape)
    axis_of_heads = head_axis(here.name)
    if axis_of_heads is not None:
        n_heads = activation.shape[axis_of_heads]
        chosen = heads_of(writer.field("heads", None), n_heads)
        others = [head for head in range(n_heads) if chosen is not None and head not in chosen]
        selected.transpose(0, axis_of_heads)[others] = False
    return selected.to(activation.device)


def n_positions_written(writer: PositionWriter, here: Here) -> int:
    """How many positions of this pass a writer means, in all rows."""
    if here.place == "none":
        return here.batch
    return sum(position in here.span for row in range(here.batch) for position in _positions(writer, here, row))


def n_heads_written(writer: PositionWriter, activation: Tensor, here: Here) -> int:
    """How many heads a writer means; 0 where they are not told apart."""
    axis = head_axis(here.name)
    if axis is None:
        return 0
    n_heads = activation.shape[axis]
    return len(heads_of(writer.field("heads", None), n_heads) or range(n_heads))


def same_numbers(one: Tensor, other: Tensor) -> Bool[Tensor, "..."]:
    """Where two activations hold the same number, NaN the same as NaN."""
    is_same = one == other
    return is_same | (one.isnan() & other.isnan()) if one.is_floating_point() else is_same


def noise_like(activation: Tensor, here: Here) -> Tensor:
    """Noise as large as the activation."""
    generator = torch.Generator().manual_seed(1000 * here.step + (here.layer or 0))
    if activation.dtype == torch.bool:
        return torch.ones_like(activation)
    finite = activation.float().nan_to_num(neginf=0.0, posinf=0.0)
    noise = torch.randn(activation.shape, generator=generator).to(activation.device)
    return (noise * finite.abs().max().clamp(min=1.0)).to(activation.dtype)


def _positions(writer: PositionWriter, here: Here, row: int) -> tuple[int, ...]:
    return positions_of(here.sequences, writer.positions, row)

"""What can be attached: writers and readers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.described import described
from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.attachments.naming.hook_names import hook_names_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.record import Record
from vlm_lens.errors import EmptySelectionError, HookError


@dataclass(frozen=True, eq=False)
class Attachment:
    """Something that stands at hooks of a model while it runs. A value: it holds nothing of a run and can be reused.

    Attributes:
        name: what it is called in results and figures; its class where empty.
        on_empty: "raise" where it finds nothing to act on, or "skip", as when a picture has no register tokens.
    """

    name: str = field(default="", kw_only=True)
    on_empty: Literal["raise", "skip"] = field(default="raise", kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = Attachment.__repr__  # type: ignore[method-assign]  # or dataclass would spell tensors out

    def __post_init__(self) -> None:
        """Hold a copy of what could change later: masks, lists and mappings. What they hold is not copied."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, list | dict | np.ndarray):
                object.__setattr__(self, one.name, value.copy())
            elif isinstance(value, Tensor) and not value.requires_grad:
                object.__setattr__(self, one.name, value.clone())

    @property
    def label(self) -> str:
        """The name, or the class where it has none."""
        return self.name or type(self).__name__

    def field(self, name: str, *default: Any) -> Any:
        """A field that a subclass may have or not: `hook`, `layers`, `heads`, `positions`."""
        return getattr(self, name, *default)

    def fingerprint(self) -> str:
        """A hash of what it says, the name aside: equal for equal contents, in every process."""
        return fingerprint_of(self)

    def hook_names(self, model: Any) -> list[str]:
        """The hooks where it stands, by default those that its fields `hook` and `layers` name.

        Raises:
            HookError: for a hook that does not exist, or where no field `hook` names one.
            EmptySelectionError: for layers that the model has not.
        """
        if self.field("hook", None) is None:
            advice = "Give the class a field `hook`, or a method hook_names(model)."
            raise HookError(f"{self.label} stands nowhere", "a hook", "none", advice)
        return hook_names_of(model, self.field("hook"), self.field("layers", "all"), self.on_empty)

    def check(self, ground: Ground) -> None:
        """Raise before the model runs, if it cannot act on what will be run.

        Raises:
            EmptySelectionError: a field of positions (`positions`, `queries`, `keys`) that means none.
            PositionError: positions that do not exist, or of another picture or row.
            HookError: heads that the tower has not.
        """
        ground.check_positions(self, self.hook_names(ground.model))
        ground.check_heads(self, self.hook_names(ground.model))

    def __repr__(self) -> str:
        own_first = sorted(fields(self), key=lambda one: one.kw_only is True)
        shown = [
            f"{one.name}={described(getattr(self, one.name))}"
            for one in own_first
            if not _is_default(getattr(self, one.name), one.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_default(value: Any, default: Any) -> bool:
    """Whether a field was left as it is; tensors and arrays are not compared."""
    is_plain = isinstance(value, str | int | float | tuple | range) and type(value) is type(default)
    return value is default or bool(is_plain and value == default)


class Writer(Attachment, ABC):
    """An intervention: it replaces activations."""

    edits_in_place: ClassVar[bool] = True
    """Whether `write` may edit what it is given. One that says it never does saves a copy."""

    @abstractmethod
    def write(self, activation: Tensor, here: Here) -> Tensor | None:
        """The activation as it goes on from here: another tensor of its shape, or None to leave it."""

    def touched(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """Its reach: at each of its hooks the positions that it may change, reading no others there.

        A sweep computes these alone and what follows from them, and shows `write` some positions of an activation,
        those in `here.span`. None, the default, says nothing: each condition with such a writer is run in full.
        At scores, pattern and mask positions are queries, and `write` is shown all their keys.
        """
        return None


class Read(NamedTuple):
    """What a reader kept of one activation, and where that stood."""

    here: Here
    value: Any


class Reader(Attachment, ABC):
    """A probe: it reduces activations as they pass, so that memory grows with its result."""

    is_local: ClassVar[bool] = False
    """Whether what `read` keeps of a position depends on that position's row of the activation alone, and on nothing
    that it read at an earlier hook. Of scores and pattern it is then shown the queries that it has `asked` for and no
    others (`here.positions` says which, and `here.rows` speaks of these; some may be what another reader asked for),
    and these alone are written out. In a sweep it reads once what several conditions share. A subclass with a `read`
    of its own says so anew."""

    @abstractmethod
    def read(self, activation: Tensor, here: Here) -> Any:
        """What to keep of an activation; None keeps nothing. It must not edit what it is given."""

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """At each of its hooks the positions that it reads; None, the default, for all.

        A sweep need not compute the others: `read` is shown them as they are in the run that nothing was done to. Nor
        is every query's row of scores and pattern written out for a reader that `is_local`.
        """
        return None

    def result(self, reads: Sequence[Read], record: Record) -> Any:
        """What `run[reader]` gives, from all that was kept, in the order of the run.

        Args:
            reads: layer by layer, step by step.
            record: what was run: model, inputs, and the layout with the generated positions.
        """
        return {(read.here.name, read.here.step): read.value for read in reads}

    def nothing_read(self) -> EmptySelectionError:
        """The error of a result that has nothing to be made from."""
        advice = "The last token of a generation is not run, so that one which ends at once runs none."
        return EmptySelectionError(f"{self!r} read nothing", "positions that were run", "none", advice)


def declares(one: Attachment, what: str, of: str) -> bool:
    """Whether a class says something of a method of its own: a subclass with another `of` must say `what` anew."""
    for base in type(one).__mro__:
        if what in base.__dict__:
            return True
        if of in base.__dict__:
            return False
    return False

"""What a run with attachments gives back."""

from dataclasses import dataclass, field
from html import escape
from typing import Any

from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.session import Session
from vlm_lens.layout import TokenLayout
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.generation import Generation


class Found:
    """Results found by the object itself: `run[lens]`."""

    session: Session

    @property
    def objects(self) -> tuple[Attachment, ...]:
        """What was attached, in order."""
        return self.session.objects

    def __getitem__(self, one: Attachment) -> Any:
        """What a probe found.

        Raises:
            HookError: for an object that was not attached, or that reads nothing.
        """
        return self.session[one]

    def verify(self) -> Any:
        """Run it again and prove that every writer acted: a `Verification`, with what was checked.

        Raises:
            VerificationError: with the figure that is off.
        """
        return self.session.verify()

    def _objects_html(self) -> str:
        return "".join(f"<li><code>{escape(repr(one))}</code></li>" for one in self.objects)


@dataclass(frozen=True, eq=False, repr=False)
class Run(Found):
    """A plain run: `vlm.run(inputs, *objects)`.

    Attributes:
        logits: `[batch pos d_vocab]`, or whatever else the options make the model give.
        inputs: what the model was given.
        layout: what each position is; None where that is unknown.
        session: what was attached.
        cache: the activations asked for, or None.
    """

    logits: Any
    inputs: Any
    layout: TokenLayout | None
    session: Session
    cache: ActivationCache | None = None

    def __repr__(self) -> str:
        return f"Run({_shape_of(self.logits)}, {', '.join(map(repr, self.objects)) or 'nothing attached'})"

    def _repr_html_(self) -> str:
        return f"<b>Run</b>, {_shape_of(self.logits)}<ul>{self._objects_html()}</ul>"


def _shape_of(output: Any) -> str:
    """What a model gave, in a word: logits, a loss, both, or nothing."""
    if isinstance(output, Tensor):
        return f"logits {list(output.shape)}" if output.ndim else f"loss {output.item():.3g}"
    return "nothing" if output is None else ", ".join(map(_shape_of, output))


@dataclass(frozen=True, eq=False, repr=False)
class GeneratedRun(Generation, Found):
    """A generation with what was attached: `vlm.generate(inputs, *objects)`.

    Attributes:
        session: what was attached.
    """

    session: Session = field(kw_only=True)

    def _repr_html_(self) -> str:
        return f"{Generation._repr_html_(self)}<ul>{self._objects_html()}</ul>"

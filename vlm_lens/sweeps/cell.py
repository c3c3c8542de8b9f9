"""What one condition gave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.attachments.running.session import Session
from vlm_lens.errors import InputError
from vlm_lens.probes.patching.answer_metrics import AnswerMetric
from vlm_lens.sweeps.conditions import Condition


@dataclass(frozen=True, eq=False)
class Cell:
    """What one condition gave.

    Attributes:
        condition: what was attached.
        logits: `[batch d_vocab]` at the last prompt position, or `[batch pos d_vocab]` where others were asked for;
            None where none were. On the CPU.
        values: what each metric says, row by row.
        generation: what was generated; None where nothing was to be.
        session: what was attached, with what probes found.
    """

    condition: Condition
    logits: Float[Tensor, "..."] | None
    values: Mapping[str, Float[Tensor, " batch"]]
    generation: GeneratedRun | None
    session: Session = field(repr=False)

    @property
    def name(self) -> str:
        """The condition's name."""
        return self.condition.name

    @property
    def text(self) -> str:
        """What was generated, for a batch of one.

        Raises:
            InputError: nothing was, or several rows.
        """
        if self.generation is None:
            raise InputError("text of a cell", "a sweep with read=Generated(...)", "none was generated")
        return self.generation.text

    def __getitem__(self, probe: Attachment | AnswerMetric) -> Any:
        """What a probe found under this condition, or a metric's numbers, row by row.

        Raises:
            HookError: for an object that was not attached, or that reads nothing.
            InputError: for a metric that was not read.
        """
        if isinstance(probe, AnswerMetric):
            if repr(probe) not in self.values:
                rule = (
                    f"one of {', '.join(self.values)}" if self.values else "a sweep that reads it: read=[..., metric]"
                )
                raise InputError("Metric of a cell", rule, repr(probe))
            return self.values[repr(probe)]
        return self.session[probe] if self.generation is None else self.generation[probe]

    def __repr__(self) -> str:
        shown = [f"{name}={_short(value)}" for name, value in self.values.items()]
        if self.logits is not None:
            shown.append(f"logits {list(self.logits.shape)}")
        if self.generation is not None:
            texts = self.generation.texts or (f"{self.generation.tokens.shape[1]} tokens",)
            shown.append(", ".join(map(repr, texts)))
        return f"Cell({self.name!r}, {', '.join(shown) or 'probes alone'})"


def _short(value: Float[Tensor, " batch"]) -> str:
    """The numbers of a batch: the number itself where there is one row."""
    numbers = [f"{one:.4g}" for one in value.tolist()]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"

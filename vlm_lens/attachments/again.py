"""The model once more, on the same inputs and under the same writers: for measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.record import Record
from vlm_lens.attachments.session import Session


@dataclass(frozen=True, eq=False)
class Again:
    """A model to run again.

    Attributes:
        model: what ran.
        inputs: what it was given.
        record: the run that came before.
        logits: what that run gave.
        writers: what was attached before the measure, and is in force in each further run.
    """

    model: Any
    inputs: Any
    record: Record
    logits: Tensor
    writers: tuple[Writer, ...]

    def __call__(
        self,
        fwd_hooks: Sequence[tuple[Any, Callable[..., Any]]] = (),
        *,
        inputs: Any = None,
        has_gradient: bool = False,
        **options: Any,
    ) -> Any:
        """Run the model; the measure's own hooks come after the writers.

        Args:
            fwd_hooks: as `run_with_hooks` takes them.
            inputs: other inputs of the same layout; None for the same.
            has_gradient: keep what a backward pass needs.
            options: of the model's forward.
        """
        session = Session(self.model, self.writers)
        with torch.set_grad_enabled(has_gradient), session.standing(), self.model.hooks(fwd_hooks=list(fwd_hooks)):
            return self.model(self.inputs if inputs is None else inputs, **options)

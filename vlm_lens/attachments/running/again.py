"""The model once more, on the same inputs and under the same writers: for measures."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.session import Session
from vlm_lens.attachments.running.standing import standing_at


@dataclass(frozen=True, eq=False)
class Again:
    """A model to run again.

    Attributes:
        model: what ran.
        inputs: what it was given.
        record: the run that came before.
        writers: what was attached before the measure, and is in force in each further run.
        given_logits: what the run before gave, where nothing but these writers was in force; None where more was.
    """

    model: Any
    inputs: Any
    record: Record
    writers: tuple[Writer, ...]
    given_logits: Tensor | None = None

    @cached_property
    def logits(self) -> Tensor:
        """What the model gives under these writers alone."""
        if self.given_logits is not None:
            return self.given_logits
        found: Tensor = self()
        return found

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
            options: of the model's forward, besides those of the run before.
        """
        session = Session(self.model, self.writers)
        with ExitStack() as stack:
            for outer in standing_at(self.model):  # what is attached around this acts, and records none of it
                stack.enter_context(outer.unrecorded())
            stack.enter_context(torch.set_grad_enabled(has_gradient))
            stack.enter_context(session.standing())
            stack.enter_context(self.model.hooks(fwd_hooks=list(fwd_hooks)))
            return self.model(self.inputs if inputs is None else inputs, **{**self.record.options, **options})

"""The verbs that take attachments: run and attach."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.attachments.measure import Measure
from vlm_lens.attachments.running.again import Again
from vlm_lens.attachments.running.run import Run
from vlm_lens.attachments.running.session import Session
from vlm_lens.errors import HookError
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.hooked_root import NamesFilter


class Runs:
    """What every hooked model can do with interventions and probes."""

    def run(self, inputs: Any, *objects: Attachment, names_filter: NamesFilter = None, **options: Any) -> Run:
        """Run the model once, without gradients, with everything attached.

        Writers apply in the order written where they share a hook, and a reader sees the writers before it; across
        hooks the model's own order rules. Nothing stays attached.

        Args:
            inputs: what the model takes.
            objects: interventions and probes.
            names_filter: activations to keep besides, in `run.cache`: a name, a pattern, several, or a predicate.
            options: of the model's forward, such as `only_last=True`.

        Raises:
            VlmLensError: before the model runs, for an object that cannot act on these inputs.
        """
        inputs = prepared(self, inputs)
        session = Session(self, objects)
        _check_options(objects, options)
        names = [] if names_filter is None else self.selected_names(names_filter)  # type: ignore[attr-defined]
        saved, hooks, _ = self.get_caching_hooks(names)  # type: ignore[attr-defined]
        with torch.no_grad(), session.standing(), self.hooks(fwd_hooks=hooks):  # type: ignore[attr-defined]
            logits = self(inputs, **options)  # type: ignore[operator]
        record = session.record
        assert record is not None
        for place, one in enumerate(objects):
            if isinstance(one, Measure):
                writers = tuple(other for other in objects[:place] if isinstance(other, Writer))
                is_skipped = any(one is other for other in record.skipped)
                is_last = not any(isinstance(other, Writer) for other in objects[place:])
                again = Again(self, inputs, record, writers, logits if is_last else None)
                found = None if is_skipped else one.measure(again)
                session.keep(one, found)
        cache = None if names_filter is None else ActivationCache(saved, self)
        return Run(logits, inputs, record.layout, session, cache)

    @contextmanager
    def attach(self, *objects: Attachment) -> Iterator[Session]:
        """Everything attached until the block ends: `with vlm.attach(knockout, lens) as run: vlm(inputs); run[lens]`.

        Results are those of the last run inside the block.

        Raises:
            HookError: for an object that the model cannot take.
        """
        refuse_measures(objects, "attach")
        session = Session(self, objects)
        with session.standing():
            yield session


def prepared(model: Any, inputs: Any) -> Any:
    """Inputs whose positions are known, so that they need not be worked out for each object."""
    if hasattr(model, "as_inputs") and not (isinstance(inputs, torch.Tensor) and inputs.is_floating_point()):
        return model.prompts_of(inputs)
    return inputs


def _check_options(objects: tuple[Attachment, ...], options: dict[str, Any]) -> None:
    """Raise for options under which a measure has no logits to measure.

    Raises:
        HookError: `stop_at_layer`, or another `return_type` than logits.
    """
    measure = next((one for one in objects if isinstance(one, Measure)), None)
    is_without_logits = options.get("stop_at_layer") is not None or options.get("return_type", "logits") != "logits"
    if measure is not None and is_without_logits:
        got = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise HookError(f"{measure.label} measures logits", "a run that gives them", got, "Leave these options out.")


def refuse_measures(objects: tuple[Attachment, ...], verb: str) -> None:
    for one in objects:
        if isinstance(one, Measure):
            raise HookError(f"{verb} cannot measure", "probes that read as the model runs", repr(one), "Use vlm.run.")

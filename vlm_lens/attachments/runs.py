"""The verbs that take attachments: run, generate, stream, attach."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from typing import Any

import torch

from vlm_lens.attachments.again import Again
from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.attachments.measure import Measure
from vlm_lens.attachments.run import GeneratedRun, Run
from vlm_lens.attachments.session import Session
from vlm_lens.errors import HookError
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.generation import Generation, Step
from vlm_lens.model.hooked_root import NamesFilter


class Runs:
    """What a hooked model can do with interventions and probes."""

    _attached: tuple[Session, ...] = ()

    def run(self, inputs: Any, *objects: Attachment, names_filter: NamesFilter = None, **options: Any) -> Run:
        """Run the model once, without gradients, with everything attached.

        Writers apply in the order written where they share a hook, and a reader sees the writers before it; across
        hooks the model's own order rules. Nothing stays attached.

        Args:
            inputs: what the model takes.
            objects: interventions and probes.
            names_filter: activations to keep besides, in `run.cache`.
            options: of the model's forward, such as `only_last=True`.

        Raises:
            VlmLensError: before the model runs, for an object that cannot act on these inputs.
        """
        inputs = _prepared(self, inputs)
        session = Session(self, objects)
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
                found = None if is_skipped else one.measure(Again(self, inputs, record, logits, writers))
                session.keep(one, found)
        cache = None if names_filter is None else ActivationCache(saved, self)
        return Run(logits, inputs, record.layout, session, cache)

    def generate(self, inputs: Any, *objects: Attachment, max_new_tokens: int = 50, **options: Any) -> GeneratedRun:
        """Continue the prompts with everything attached, at every step.

        Args:
            inputs: what the model takes.
            objects: interventions and probes; see `run`.
            max_new_tokens: at most so many tokens.
            options: see `vlm_lens.model.generates.Generates.generate`.

        Raises:
            VlmLensError: before the model runs, for an object that cannot act on these inputs.
        """
        session = Session(self, objects)
        _refuse_measures(objects, "generate")
        inputs = _prepared(self, inputs)
        with self._expecting(session, max_new_tokens):
            generation: Generation = super().generate(  # type: ignore[misc]
                inputs, max_new_tokens=max_new_tokens, around=session.standing, **options
            )
        for one in (*self._attached, session):
            if one.record is not None and generation.layout is not None:
                one.finish(generation.layout)
        return GeneratedRun(**{one.name: getattr(generation, one.name) for one in fields(generation)}, session=session)

    def stream(self, inputs: Any, *objects: Attachment, max_new_tokens: int = 50, **options: Any) -> Iterator[Step]:
        """Generate token by token with everything attached; nothing stands while you hold a token.

        Raises:
            VlmLensError: for an object that cannot act on these inputs, at the first token.
        """
        if not objects and not self._attached:
            return super().stream(inputs, max_new_tokens=max_new_tokens, **options)  # type: ignore[misc]
        session = Session(self, objects)
        _refuse_measures(objects, "stream")
        given: Callable[[], AbstractContextManager[Any]] = options.pop("around", nullcontext)

        @contextmanager
        def around() -> Iterator[None]:
            with self._expecting(session, max_new_tokens), given(), session.standing():
                yield

        options = {**options, "max_new_tokens": max_new_tokens, "around": around}
        return super().stream(_prepared(self, inputs), **options)  # type: ignore[misc]

    @contextmanager
    def attach(self, *objects: Attachment) -> Iterator[Session]:
        """Everything attached until the block ends: `with vlm.attach(knockout, lens) as run: vlm(inputs); run[lens]`.

        Results are those of the last run inside the block.

        Raises:
            HookError: for an object that the model cannot take.
        """
        _refuse_measures(objects, "attach")
        session = Session(self, objects)
        with session.standing():
            before, self._attached = self._attached, (*self._attached, session)
            try:
                yield session
            finally:
                self._attached = before

    @contextmanager
    def _expecting(self, session: Session, n_new: int) -> Iterator[None]:
        """While a generation runs, everything attached knows how many positions may come."""
        session.expect(n_new)
        outer = [(one, one.n_expected) for one in self._attached]
        try:
            for one, _ in outer:
                one.expect(n_new)
            yield
        finally:
            for one, n_expected in outer:
                one.expect(n_expected)


def _prepared(model: Any, inputs: Any) -> Any:
    """Inputs whose positions are known, so that they need not be worked out for each object."""
    if hasattr(model, "as_inputs") and not (isinstance(inputs, torch.Tensor) and inputs.is_floating_point()):
        return model.prompts_of(inputs)
    return inputs


def _refuse_measures(objects: tuple[Attachment, ...], verb: str) -> None:
    for one in objects:
        if isinstance(one, Measure):
            raise HookError(f"{verb} cannot measure", "probes that read as the model runs", repr(one), "Use vlm.run.")

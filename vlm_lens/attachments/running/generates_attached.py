"""The verbs that continue prompts with attachments: generate and stream."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import fields
from itertools import chain, repeat
from typing import Any

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.passes import first_pass
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.attachments.running.runs import Runs, prepared, refuse_measures
from vlm_lens.attachments.running.session import Session
from vlm_lens.attachments.running.standing import standing_at
from vlm_lens.layout import TokenLayout
from vlm_lens.model.generation import Generation, Step, continued_layout


class GeneratesAttached(Runs):
    """What a hooked decoder can do besides."""

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
        refuse_measures(objects, "generate")
        inputs = prepared(self, inputs)
        is_alone = not objects and options.get("use_cache", True)
        with self._expecting(session, max_new_tokens), ExitStack() as stack:
            if is_alone:
                around = _first_of(session)
            elif options.get("on_token") is None:  # nobody looks between the steps
                around = nullcontext
                stack.enter_context(session.standing())
            else:
                around = session.standing
            generation: Generation = super().generate(  # type: ignore[misc]
                inputs, max_new_tokens=max_new_tokens, around=around, **options
            )
        if is_alone and session.record is not None:
            session.record.tokens.extend(generation.tokens[:, :-1].split(1, dim=1))
            session.record.ends.extend(generation.logits[:, 1:].unbind(dim=1))
        layout = generation.layout or self._layout_of(generation, options.get("eos_token_id"))
        for one in (*standing_at(self), session):
            if one.record is not None and layout is not None:
                one.finish(layout)
        return GeneratedRun(**{one.name: getattr(generation, one.name) for one in fields(generation)}, session=session)

    def stream(self, inputs: Any, *objects: Attachment, max_new_tokens: int = 50, **options: Any) -> Iterator[Step]:
        """Generate token by token with everything attached; nothing stands while you hold a token.

        Raises:
            VlmLensError: for an object that cannot act on these inputs, at the first token.
        """
        if not objects and not standing_at(self):
            return super().stream(inputs, max_new_tokens=max_new_tokens, **options)  # type: ignore[misc]
        session = Session(self, objects)
        refuse_measures(objects, "stream")
        given: Callable[[], AbstractContextManager[Any]] = options.pop("around", nullcontext)

        @contextmanager
        def around() -> Iterator[None]:
            with self._expecting(session, max_new_tokens), given(), session.standing():
                yield

        options = {**options, "max_new_tokens": max_new_tokens, "around": around}
        return super().stream(prepared(self, inputs), **options)  # type: ignore[misc]

    def _layout_of(self, generation: Generation, eos_token_id: Any) -> TokenLayout | None:
        """The layout of a generation from plain tokens, of which nothing is known but where they end."""
        layout, ends = first_pass(self, generation.inputs).layout, self._end_tokens(eos_token_id)  # type: ignore[attr-defined]
        return layout and continued_layout(self, layout, generation.inputs, generation.tokens, ends)

    @contextmanager
    def _expecting(self, session: Session, n_new: int) -> Iterator[None]:
        """While a generation runs, everything attached knows how many positions may come."""
        session.expect(n_new)
        outer = [(one, one.n_expected) for one in standing_at(self)]
        try:
            for one, _ in outer:
                one.expect(n_new)
            yield
        finally:
            for one, n_expected in outer:
                one.expect(n_expected)


def _first_of(session: Session) -> Callable[[], AbstractContextManager[Any]]:
    """Contexts for the passes of a generation; the session stands in the first, which tells it what was given."""
    contexts: Iterator[Callable[[], AbstractContextManager[Any]]] = chain((session.standing,), repeat(nullcontext))
    return lambda: next(contexts)()

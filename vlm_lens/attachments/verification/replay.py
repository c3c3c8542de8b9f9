"""A run once more: the same inputs, the same tokens after them, under the same writers."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.running.passes import first_pass, planned_pass
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.session import Session
from vlm_lens.attachments.running.standing import Watcher
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.key_value_cache import KeyValueCache

Look = Callable[[Tensor, Here], Tensor | None]
"""A hook of a proof: what takes the activation's place, or None to leave it."""

Looks = Sequence[tuple[str, Look, bool]]
"""Hooks by name, and whether each only reads."""


@dataclass(eq=False)
class Replay:
    """Repeats a recorded run, the generated tokens given and not chosen again.

    Attributes:
        model: what ran.
        record: the run.
        n_runs: how often it was repeated.
    """

    model: Any
    record: Record
    n_runs: int = 0

    def __call__(
        self, writers: Sequence[Writer], watcher: Watcher | None = None, first: Looks = (), last: Looks = ()
    ) -> Record:
        """Run it all under some writers.

        Args:
            writers: in order.
            watcher: is shown each activation before and after every writer.
            first: hooks that come before the writers.
            last: hooks that come after them.
        """
        self.n_runs += 1
        session = self._session(writers, watcher)
        options = dict(self.record.options)
        if self.record.tokens:
            n_positions = self.record.tokens[0].shape[1] + session.n_expected
            options["past"] = KeyValueCache(self.model.cfg.n_layers, n_positions)
        with (
            torch.no_grad(),
            self.model.hooks(fwd_hooks=[_hook(session, *look) for look in first]),
            session.standing(),
            self.model.hooks(fwd_hooks=[_hook(session, *look) for look in last]),
        ):
            for given in (self.record.given, *self.record.tokens):
                self.model(given, **options)
        assert session.record is not None
        return session.record

    def skipped(self, writers: Sequence[Writer]) -> tuple[Any, ...]:
        """The writers that find nothing to act on; no model is run."""
        session = self._session(writers, None)
        options = self.record.options
        first = first_pass(self.model, self.record.given, options.get("attention_mask"))
        planned = planned_pass(first, session.n_expected)
        session._check(planned, self.record.given, options.get("start_at_layer"), options.get("stop_at_layer"))
        return session._skipped

    def _session(self, writers: Sequence[Writer], watcher: Watcher | None) -> Session:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what can reach nothing was told when it was attached
            session = Session(self.model, writers, watcher)
        session.expect(self.record.n_expected)
        return session


def _hook(session: Session, name: str, look: Look, only_reads: bool) -> tuple[str, Any]:
    def hook(activation: Tensor, hook: HookPoint) -> Tensor | None:
        if session.current is None:
            return None
        return look(activation, Here.at(session.model, hook, activation, session.current))

    setattr(hook, "reads_only" if only_reads else "returns_new", True)
    return name, hook

"""A run and its variants: what they share is computed once, and of each variant what it changes and somebody reads."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.attachments.running.session import Session
from vlm_lens.layout import Selector
from vlm_lens.model.sampling import Sampling
from vlm_lens.recompute.beginning import Beginning
from vlm_lens.recompute.bystanders import is_watched
from vlm_lens.recompute.decoding import MAX_BYTES, generated_runs
from vlm_lens.recompute.dispatch import Dispatch
from vlm_lens.recompute.ending import finish
from vlm_lens.recompute.entering import entered
from vlm_lens.recompute.layers import LayerDone, Layers
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.prefix import Keeping, Prefix, beginning_of
from vlm_lens.recompute.variant import Variant

MAX_ROWS = 4096
"""Rows of variants that pass a layer together: enough to keep a machine busy, few enough for its memory."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one condition gave.

    Attributes:
        logits: at the positions that were wanted, ascending; None where none were.
        session: what was attached, with what its readers found.
    """

    logits: Float[Tensor, "batch pos d_vocab"] | None
    session: Session


class SharedRun:
    """One run of a model, and variants of it under interventions.

    Args:
        model: what runs.
        inputs: what it is given.
        conditions: for each variant what is attached.
        wanted: the positions whose logits are wanted; None for none at all.
        max_rows: see `MAX_ROWS`.
        n_expected: how many tokens will be generated: their positions may be named.
        prefix: what an earlier run has kept: as much of it is used as this run begins alike, and nothing if that is not
            exact.

    Attributes:
        kept: after a run that was to keep it, what it has computed of how it begins.

    Raises:
        VlmLensError: before anything runs, for an object that cannot act on these inputs.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        conditions: Sequence[Sequence[Attachment]],
        wanted: Selector | None = "last",
        *,
        max_rows: int = MAX_ROWS,
        n_expected: int = 0,
        prefix: Prefix | None = None,
    ) -> None:
        self.planned, self.max_rows = Planned(model, inputs, conditions, wanted, n_expected=n_expected), max_rows
        self._continue(prefix)

    def _continue(self, prefix: Prefix | None) -> None:
        """Use what is of use of a prefix: its keys and values, and the vectors of its pictures."""
        self.kept: Prefix | None = None
        self._given = prefix
        has_use = prefix is not None and bool(self.planned.in_parts)
        self.prefix = prefix.for_run(self.planned) if prefix is not None and has_use else None
        self.vectors = prefix.vectors_for(self.planned) if prefix is not None and has_use else None

    @classmethod
    def over(cls, planned: Planned, max_rows: int = MAX_ROWS, prefix: Prefix | None = None) -> "SharedRun":
        """What was planned before, or some of its variants."""
        shared = cls.__new__(cls)
        shared.planned, shared.max_rows = planned, max_rows
        shared._continue(prefix)
        return shared

    def let_go(self) -> None:
        """Hold no prefix any more."""
        self.prefix = self.kept = self.vectors = self._given = None

    @property
    def beginning(self) -> Beginning:
        """How it begins."""
        return beginning_of(self.planned)

    @torch.no_grad()
    def run(self, on_layer: Callable[[LayerDone], None] = lambda done: None, keep: int = 0) -> list[Outcome]:
        """Every condition's outcome, in order.

        Args:
            on_layer: is told of each layer of the decoder.
            keep: how many of the first positions another run may share: `kept` then holds what it needs.
        """
        planned, is_crowded = self.planned, is_watched(self.planned.model)
        if planned.in_parts and not is_crowded:
            keeping = Keeping(planned, keep) if keep else None
            dispatch = Dispatch(planned.model, planned.in_parts, planned.current, self.prefix, keeping)
            with dispatch.standing():
                self._run_together(dispatch, on_layer if keeping is None else _besides(keeping, on_layer))
            self.kept = None if keeping is None else keeping.kept()
        return [
            self._in_full(one) if is_crowded or one.reach.why_in_full else self._outcome(one)
            for one in planned.variants
        ]

    def generate(
        self,
        *,
        eos_token_id: int | Iterable[int] | None = None,
        max_bytes: int = MAX_BYTES,
        on_progress: Callable[[object], None] = lambda done: None,
        keep: int = 0,
        **sampling: Any,
    ) -> list[GeneratedRun]:
        """What `model.generate` gives under each condition, with as many new tokens as were expected.

        The prompt is read as in `run`; then all variants decode as one batch. Each holds the keys and values of its
        whole prompt, those that it shares included: as much memory as so many plain generations in one batch.

        Args:
            eos_token_id: see `model.generate`.
            max_bytes: of the keys and values of variants that decode together; the others wait, and read the shared
                prompt once more. One variant is held whatever it takes.
            on_progress: is told of each layer that has read the prompt, and of each step.
            keep: see `run`.
            sampling: the fields of `Sampling`; with a seed each condition draws as it does by itself.

        Raises:
            InputError: no tokens expected, prompts that end in padding, or more positions than the context has.
        """

        def read_prompt(planned: Planned, on_layer: Callable[[LayerDone], None]) -> None:
            def told(done: LayerDone) -> None:
                on_layer(done)
                on_progress(done)

            reading = SharedRun.over(planned, self.max_rows, self._given)
            reading.run(told, 0 if self.kept else keep)
            self.kept = self.kept or reading.kept

        with torch.no_grad():
            return generated_runs(self.planned, read_prompt, Sampling(**sampling), eos_token_id, max_bytes, on_progress)

    def _run_together(self, dispatch: Dispatch, on_layer: Callable[[LayerDone], None]) -> None:
        planned, n_rows = self.planned, self.planned.n_shared_rows
        n_before = 0 if self.prefix is None else self.prefix.n_positions
        stream, vectors = entered(planned, dispatch, self.max_rows, self.vectors)
        if dispatch.keeping is not None:
            dispatch.keeping.vectors = vectors
        stream = stream[:, n_before:n_rows]
        layers = Layers(
            planned.decoder.tower, dispatch, lambda one: one.decoder, lambda one: one.decoder_edges, self.max_rows
        )
        is_real = None if planned.is_real is None else planned.is_real[:, :n_rows]
        is_cut = planned.wanted.any() and not planned.ends_are_watched
        rows = np.flatnonzero(planned.wanted) if is_cut else np.arange(n_before, n_rows)
        ending = rows if is_cut else None
        stream = layers.run(stream, is_real, planned.in_parts, planned.n_layers, ending, on_layer, self.prefix)
        if planned.wanted.any() or planned.ends_are_watched:
            finish(planned, dispatch, stream, rows, self.max_rows)

    def _outcome(self, variant: Variant) -> Outcome:
        variant.session.current = None
        return Outcome(variant.logits if self.planned.wanted.any() else None, variant.session)

    def _in_full(self, variant: Variant) -> Outcome:
        """A condition whose reach is unknown, run by itself."""
        run = self.planned.model.run(self.planned.inputs, *variant.session.objects)
        index = torch.from_numpy(np.flatnonzero(self.planned.wanted)).to(run.logits.device)
        return Outcome(run.logits[:, index] if len(index) else None, run.session)


def _besides(keeping: Keeping, on_layer: Callable[[LayerDone], None]) -> Callable[[LayerDone], None]:
    """What is told of each layer, and of what is kept besides."""

    def told(done: LayerDone) -> None:
        assert done.shared.keys is not None and done.shared.values is not None
        keeping.layer_done(done.stream, done.shared.keys, done.shared.values)
        on_layer(done)

    return told

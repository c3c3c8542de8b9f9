"""A run and its variants: what they share is computed once, and of each variant what it changes and somebody reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.naming.towers import Tower, towers_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.passes import first_pass, planned_pass, whole
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.runs import prepared
from vlm_lens.attachments.running.session import Session
from vlm_lens.inputs.entries import entries_of
from vlm_lens.layout import Selector
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.recompute.dispatch import Dispatch, Part
from vlm_lens.recompute.edges import Edges, Unblocked
from vlm_lens.recompute.layers import LayerDone, Layers
from vlm_lens.recompute.reach import Reach, Sizes
from vlm_lens.recompute.rows import Marked, Marks, TowerRows, rows_of
from vlm_lens.recompute.variant import NONE, Rows, Variant

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
    ) -> None:
        self.model, self.inputs, self.max_rows = model, prepared(model, inputs), max_rows
        self.current = planned_pass(first_pass(model, self.inputs), n_expected)
        assert self.current.layout is not None
        self.towers, self.n = towers_of(model), self.current.layout.n_positions
        self.ground = Ground(model, whole(self.current))
        self.wanted = np.zeros(self.n, dtype=bool)
        if wanted is not None:
            self.wanted = self.current.layout.mask(wanted).any(dim=0).numpy()
        self.variants = [self._variant(objects) for objects in conditions]
        self._check_ways()

    # Planning

    def _variant(self, objects: Sequence[Attachment]) -> Variant:
        """A condition, checked, with what it writes and reads."""
        session = Session(self.model, objects)
        session._check(self.current, self.inputs, None, None, ground=self.ground)
        session.current = self.current
        session.record = Record(
            self.model, self.inputs, self.current.layout, self.current.pictures, skipped=session._skipped,
            options={"only_last": True}, beside=(session,), n_expected=0,
        )  # fmt: skip
        return Variant(session, Reach.of(session, self.ground, self.sizes))

    def _check_ways(self) -> None:
        """Find the rows of every variant whose reach is known."""
        for variant in self.variants:
            if not variant.reach.why_in_full:
                self._plan(variant)

    def _plan(self, variant: Variant) -> None:
        """The rows of a variant, from what it writes and what is read of it."""
        reach, sizes = variant.reach, self.sizes
        features = reach.written.projector.copy()
        if self._vision is not None:
            variant.vision_edges = self._edges(self._vision, variant)
            everything = np.ones(sizes.vision, dtype=bool)
            changed = self._rows(self._vision, reach, variant.vision_edges, everything).is_changed
            features |= changed[self._first_feature :]
        written = _with_start(reach.written.decoder, self._in_decoder(features))
        variant.decoder_edges = self._edges(self._decoder, variant)
        wanted = self.wanted | reach.read.final
        variant.decoder = rows_of(
            self.n_layers, self._decoder.is_causal, written, reach.read.decoder, wanted, variant.decoder_edges.attended
        )
        is_ending = (variant.decoder.is_changed | reach.written.final) & wanted
        variant.ending = np.flatnonzero(is_ending)
        if self._vision is None:
            return
        needed = features & (self._of_pictures(variant.decoder.started) | reach.read.projector)
        variant.features_changed = np.flatnonzero(needed)
        in_tower = np.zeros(sizes.vision, dtype=bool)
        in_tower[self._first_feature :] = needed
        assert variant.vision_edges is not None
        variant.vision = self._rows(self._vision, reach, variant.vision_edges, in_tower)

    def _rows(self, about: Unblocked, reach: Reach, edges: Edges, wanted: Marked) -> TowerRows:
        depth, is_causal = self.sizes.depth, about.is_causal
        return rows_of(depth, is_causal, reach.written.vision, reach.read.vision, wanted, edges.attended)

    def _edges(self, about: Unblocked, variant: Variant) -> Edges:
        blockers = {}
        for layer in range(about.tower.transformer.cfg.n_layers):
            standing = variant.standing(about.tower.hook_name(layer, "attn.hook_mask"))
            if standing:
                blockers[layer] = [one for one in standing if isinstance(one, EdgeBlocker)]
        return Edges(about, blockers)

    @property
    def n_layers(self) -> int:
        """The layers of the decoder that are run: none behind the last that is read."""
        n_layers: int = self._decoder.tower.transformer.cfg.n_layers
        if self.wanted.any() or any(one.reach.read.final.any() for one in self.variants_in_parts):
            return n_layers
        read = [one.reach.read.decoder for one in self.variants_in_parts]
        return 1 + max((max((*m.entering, *m.keyed, *m.asking), default=-1) for m in read), default=-1)

    @property
    def variants_in_parts(self) -> list[Variant]:
        """Those that are not run in full."""
        return [one for one in getattr(self, "variants", []) if not one.reach.why_in_full]

    @cached_property
    def sizes(self) -> Sizes:
        """The positions of each stage."""
        if not isinstance(self.model, JoinedTransformer) or self.current.pictures is None:
            return Sizes(0, 0, self.n)
        n_class = int(bool(self.model.vision.cfg.has_class_token))
        n_patches = self.current.pictures.grid.n_patches
        depth = max(self.model.features.depths(self.model.vision.cfg.n_layers))
        return Sizes(n_class + n_patches, n_patches + self.model.n_class_tokens, self.n, n_class, depth)

    @property
    def _first_feature(self) -> int:
        return self.sizes.vision - self.sizes.features

    @cached_property
    def _decoder(self) -> Unblocked:
        tower = next(one for one in self.towers.values() if one.name == "decoder")
        assert self.current.layout is not None
        return Unblocked(self.model, tower, "decoder", self.current, self.current.layout)

    @cached_property
    def _vision(self) -> Unblocked | None:
        if not self.sizes.vision:
            return None
        sequences = self.current.sequences("vision")
        assert sequences is not None
        return Unblocked(self.model, self.towers["vision"], "vision", self.current, sequences)

    def _in_decoder(self, features: Marked) -> Marked:
        """The decoder's positions of some features of its pictures."""
        marked = np.zeros(self.n, dtype=bool)
        for spans in self.current.layout.images if features.any() else ():  # type: ignore[union-attr]
            for span in spans:
                marked[span.start : span.stop] |= features
        return marked

    def _of_pictures(self, rows: Rows) -> Marked:
        """The features that some of the decoder's positions are made of."""
        marked, found = np.zeros(self.n, dtype=bool), np.zeros(self.sizes.features, dtype=bool)
        marked[rows] = True
        for spans in self.current.layout.images:  # type: ignore[union-attr]
            for span in spans:
                found |= marked[span.start : span.stop]
        return found

    # Running

    @torch.no_grad()
    def run(self, on_layer: Callable[[LayerDone], None] = lambda done: None) -> list[Outcome]:
        """Every condition's outcome, in order."""
        together = self.variants_in_parts
        if together:
            self._run_together(together, on_layer)
        return [self._outcome(one) if not one.reach.why_in_full else self._in_full(one) for one in self.variants]

    def _run_together(self, variants: Sequence[Variant], on_layer: Callable[[LayerDone], None]) -> None:
        dispatch = Dispatch(self.model, variants, self.current)
        with dispatch.standing():
            shared = self._entered(dispatch, variants)
            n_rows = self._n_shared_rows(variants)
            layers = Layers(
                self._decoder.tower, dispatch, lambda one: one.decoder, lambda one: one.decoder_edges, self.max_rows
            )
            wanted = np.flatnonzero(self.wanted)
            is_real = None if self._is_real is None else self._is_real[:, :n_rows]
            ending = wanted if self.wanted.any() and not self._reads_final(variants) else None
            shared = layers.run(shared[:, :n_rows], is_real, variants, self.n_layers, ending, on_layer)
            if self.wanted.any() or self._reads_final(variants):
                self._finish(shared, ending, dispatch, variants)

    def _reads_final(self, variants: Sequence[Variant]) -> bool:
        return any(one.reach.read.final.any() or one.reach.written.final.any() for one in variants)

    def _n_shared_rows(self, variants: Sequence[Variant]) -> int:
        """How far the shared run goes: no row behind the last that is read is computed."""
        read = self.wanted.copy()
        for variant in variants:
            marks = variant.reach.read.decoder
            for rows in (marks.start, *marks.entering.values(), *marks.keyed.values(), *marks.asking.values()):
                read |= rows
            read |= variant.reach.read.final
            if any("hook_pattern" in name or "hook_attn_scores" in name or self._is_odd(name, variant)
                   for name in variant.reach.at):  # fmt: skip
                return self.n  # they are shown all keys
        return int(np.flatnonzero(read)[-1]) + 1 if read.any() else 0

    def _is_odd(self, name: str, variant: Variant) -> bool:
        return name.endswith("hook_mask") and not all(isinstance(one, EdgeBlocker) for one in variant.standing(name))

    @cached_property
    def _entries(self) -> Any:
        return entries_of(self.inputs, self.model.cfg.n_ctx)

    @cached_property
    def _is_real(self) -> Tensor | None:
        mask = self._entries.attention_mask.to(self.model.cfg.device)
        return None if bool(mask.all()) else mask.bool()

    def _entered(self, dispatch: Dispatch, variants: Sequence[Variant]) -> Float[Tensor, "batch pos d_model"]:
        """The shared stream before the decoder's first layer, and in each variant its own rows of it."""
        model, tokens = self.model, self._entries.input_ids.to(self.model.embed.W_E.device)
        if not isinstance(model, JoinedTransformer):
            with dispatch.shared():
                stream = model._embedded_tokens(tokens, self._is_real, None)
            self._start(dispatch, variants, stream, lambda variant: stream)
            return stream
        vectors = None
        if self._entries.pixel_values is not None:
            vectors = self._pictures_seen(dispatch, variants, self._entries.pixel_values)

        def merged(variant: Variant | None) -> Tensor:
            own = vectors
            if variant is not None and variant.features is not None and own is not None:
                index = torch.from_numpy(variant.features_changed).to(own.device)
                own = own.index_copy(1, index, variant.features.to(own.dtype))
            return model.merged(tokens, own)

        with dispatch.shared():
            stream = model.hook_embed(merged(None))
        self._start(dispatch, variants, stream, merged)
        return stream

    def _start(
        self,
        dispatch: Dispatch,
        variants: Sequence[Variant],
        stream: Tensor,
        before_hook: Callable[[Variant], Tensor],
    ) -> None:
        """The rows of each variant that differ before the decoder's first layer."""
        for variant in variants:
            rows = cast(TowerRows, variant.decoder).started
            variant.stream, variant.stream_rows = None, NONE
            if not len(rows):
                continue
            whole = stream if variant.features is None else before_hook(variant)
            with dispatch.passing([Part(variant, rows, rows)]):
                own = self.model.hook_embed(whole[:, torch.from_numpy(rows).to(whole.device)])
            variant.stream, variant.stream_rows = own, rows
        dispatch.forget()

    def _pictures_seen(self, dispatch: Dispatch, variants: Sequence[Variant], pixels: Tensor) -> Tensor:
        """The vectors of the pictures that all share, and in each variant its own."""
        model = self.model
        assert self._vision is not None
        tower, everything = model.vision, np.arange(self.sizes.vision)
        with dispatch.shared():
            stream = tower(pixels, stop_at_layer=0)
        for variant in variants:
            variant.stream, variant.stream_rows = None, NONE
            rows = cast(TowerRows, variant.vision).started
            if not len(rows):
                continue
            patches = everything[: self.sizes.vision - self.sizes.n_class_tokens]
            with dispatch.passing([Part(variant, patches, patches)]):
                own = tower.embed.placed(tower.hook_patch_embed(tower.embed(pixels)))
            own = own if tower.ln_pre is None else tower.ln_pre(own)
            with dispatch.passing([Part(variant, everything, everything)]):
                own = tower.hook_embed(own)
            variant.stream, variant.stream_rows = own[:, torch.from_numpy(rows).to(own.device)], rows
        dispatch.forget()
        layers = Layers(
            self.towers["vision"], dispatch, lambda one: one.vision, lambda one: one.vision_edges, self.max_rows
        )
        stream = layers.run(stream, None, variants, self.sizes.depth)
        first = self._first_feature
        with dispatch.shared():
            vectors = cast(Tensor, model.projector(stream[:, first:]))
        for variant in variants:
            variant.features = None
            rows = variant.features_changed
            if not len(rows):
                continue
            index = torch.from_numpy(rows + first).to(stream.device)
            features = stream[:, index]
            if variant.stream is not None:
                is_own = np.isin(variant.stream_rows - first, rows)
                target = torch.from_numpy(np.searchsorted(rows, variant.stream_rows[is_own] - first))
                own = variant.stream[:, torch.from_numpy(np.flatnonzero(is_own))]
                features = features.index_copy(1, target.to(stream.device), own)
            with dispatch.passing([Part(variant, rows, rows)]):
                variant.features = model.projector(features)
        dispatch.forget()
        return vectors

    def _finish(self, shared: Tensor, ending: Rows | None, dispatch: Dispatch, variants: Sequence[Variant]) -> None:
        """The logits of what is wanted: those that all share, and each variant's own rows."""
        model = self.model
        shared = shared.to(model.ln_final.w.device)
        rows = np.arange(shared.shape[1]) if ending is None else ending
        with dispatch.shared():
            logits = model.unembed(model.ln_final(shared))
        is_wanted = np.isin(rows, np.flatnonzero(self.wanted))
        kept = logits[:, torch.from_numpy(np.flatnonzero(is_wanted)).to(logits.device)]
        apart = [one for one in variants if len(one.ending)]
        for pack in _packs_of(apart, self.max_rows):
            parts, streams, start = [], [], 0
            for one in pack:
                own = shared[:, torch.from_numpy(np.searchsorted(rows, one.ending)).to(shared.device)]
                is_own = np.isin(one.stream_rows, one.ending)
                if one.stream is not None and is_own.any():
                    target = torch.from_numpy(np.searchsorted(one.ending, one.stream_rows[is_own])).to(own.device)
                    source = one.stream[:, torch.from_numpy(np.flatnonzero(is_own))].to(own.device)
                    own = own.index_copy(1, target, source)
                parts.append(Part(one, one.ending, one.ending, start, start))
                streams.append(own)
                start += len(one.ending)
            with dispatch.passing(parts):
                found = model.unembed(model.ln_final(torch.cat(streams, dim=1)))
            for part in parts:
                piece = found[:, part.entered_at : part.entered_at + len(part.entered)]
                wanted = np.isin(part.entered, rows[is_wanted])
                target = torch.from_numpy(np.searchsorted(rows[is_wanted], part.entered[wanted])).to(kept.device)
                source = piece[:, torch.from_numpy(np.flatnonzero(wanted)).to(kept.device)]
                part.variant.logits = kept.index_copy(1, target, source)
        for one in variants:
            if not len(one.ending):
                one.logits = kept
        dispatch.forget()

    def _outcome(self, variant: Variant) -> Outcome:
        variant.session.current = None
        return Outcome(variant.logits if self.wanted.any() else None, variant.session)

    def _in_full(self, variant: Variant) -> Outcome:
        """A condition whose reach is unknown, run by itself."""
        run = self.model.run(self.inputs, *variant.session.objects)
        index = torch.from_numpy(np.flatnonzero(self.wanted)).to(run.logits.device)
        return Outcome(run.logits[:, index] if len(index) else None, run.session)


def _with_start(marks: Marks, start: Marked) -> Marks:
    return Marks(marks.start | start, marks.entering, marks.keyed, marks.asking)


def _packs_of(variants: Sequence[Variant], max_rows: int) -> list[list[Variant]]:
    """Variants in groups whose last rows together keep within a bound."""
    packs: list[list[Variant]] = []
    n_rows = 0
    for one in variants:
        if not packs or n_rows + len(one.ending) > max_rows:
            packs.append([])
            n_rows = 0
        packs[-1].append(one)
        n_rows += len(one.ending)
    return packs


def decoder_of(towers: dict[str, Tower]) -> Tower:
    """The tower that reads tokens."""
    return towers["decoder"]

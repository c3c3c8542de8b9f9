"""What will be run for a set of conditions: for each the rows that it computes in every layer."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.naming.towers import towers_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.passes import first_pass, planned_pass, whole
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.runs import prepared
from vlm_lens.attachments.running.session import Session
from vlm_lens.errors import VlmLensError
from vlm_lens.inputs.entries import Entries, entries_of
from vlm_lens.layout import Selector
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.recompute.bystanders import SOMEBODY_ELSE, is_watched
from vlm_lens.recompute.edges import Edges, Unblocked
from vlm_lens.recompute.reach import Reach, Sizes
from vlm_lens.recompute.rows import Marked, Marks, TowerRows, differing_rows, rows_of
from vlm_lens.recompute.variant import Rows, Variant

_OF_ANY_LENGTH = ("default", "linear", "llama3", "yarn")
"""Rotary scalings that do not look at how long a sequence is."""


class Planned:
    """A run of a model and variants of it, with the rows that each computes; nothing has run yet.

    Args:
        model: what runs.
        inputs: what it is given.
        conditions: for each variant what is attached.
        wanted: the positions whose logits are wanted; None for none at all.
        n_expected: how many tokens will be generated: their positions may be named, and attend to every row.

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
        n_expected: int = 0,
    ) -> None:
        self.model, self.inputs = model, prepared(model, inputs)
        self.n_expected = n_expected
        self.current = planned_pass(first_pass(model, self.inputs, keeps_keys=n_expected > 0), n_expected)
        assert self.current.layout is not None
        self.towers, self.n = towers_of(model), self.current.layout.n_positions
        self.ground = Ground(model, whole(self.current))
        self.is_watched = is_watched(model)
        self.wanted = np.zeros(self.n, dtype=bool)
        if wanted is not None:
            self.wanted = self.current.layout.mask(wanted).any(dim=0).numpy()
        self.variants: list[Variant] = []
        for objects in conditions:
            try:
                self.variants.append(self._variant(objects))
            except VlmLensError as error:
                error.condition = len(self.variants)  # type: ignore[attr-defined]  # so that it can be named
                raise
        self.in_parts = [one for one in self.variants if not one.reach.why_in_full]
        for variant in self.in_parts:
            self._plan(variant)

    def only(self, variants: Sequence[Variant]) -> "Planned":
        """Some of the variants, to be run by themselves: what they share is planned for all of them."""
        some = copy(self)
        some.variants = list(variants)
        some.in_parts = [one for one in variants if not one.reach.why_in_full]
        return some

    def _variant(self, objects: Sequence[Attachment]) -> Variant:
        """A condition, checked, with what it writes and reads."""
        session = Session(self.model, objects)
        session._check(self.current, self.inputs, None, None, ground=self.ground)
        session.current = self.current
        session.record = Record(
            self.model, self.inputs, self.current.layout, self.current.pictures, skipped=session._skipped,
            options={"only_last": True}, beside=(session,), n_expected=self.n_expected,
        )  # fmt: skip
        reach = Reach.of(session, self.ground, self.sizes)
        if self.is_watched and not reach.why_in_full:
            reach = replace(reach, why_in_full=SOMEBODY_ELSE)
        return Variant(session, reach)

    def _plan(self, variant: Variant) -> None:
        """The rows of a variant, from what it writes and what is read of it."""
        reach, sizes = variant.reach, self.sizes
        features = reach.written.projector.copy()
        is_in_tower = self.vision is not None and (reach.written.vision.is_any or reach.read.vision.is_any)
        if self.vision is not None and is_in_tower:
            variant.vision_edges = self._edges(self.vision, variant, reach.written.vision)
            changed = differing_rows(sizes.depth, self.vision.is_causal, reach.written.vision)
            features |= changed[-1].left[self.first_feature :] if changed else False
        written = _with_start(reach.written.decoder, self._in_decoder(features))
        variant.decoder_edges = self._edges(self.decoder, variant, reach.written.decoder)
        wanted = self.wanted | reach.read.final
        variant.decoder = rows_of(
            self.n_layers,
            self.decoder.is_causal,
            written,
            reach.read.decoder,
            wanted,
            variant.decoder_edges.attended,
            variant.decoder_edges.kind,
            keeps_keys=self.n_expected > 1,  # the last token of all is not run: one alone needs no keys
        )
        is_ending = (variant.decoder.is_changed | reach.written.final) & wanted
        variant.ending = np.flatnonzero(is_ending)
        if self.vision is None:
            return
        needed = features & (self._of_pictures(variant.decoder.started) | reach.read.projector)
        variant.features_changed = np.flatnonzero(needed)
        if not is_in_tower:
            variant.vision = TowerRows.nothing(sizes.depth, sizes.vision)
            return
        in_tower = np.zeros(sizes.vision, dtype=bool)
        in_tower[self.first_feature :] = needed
        assert variant.vision_edges is not None
        variant.vision = self._rows(self.vision, reach, variant.vision_edges, in_tower)

    def _rows(self, about: Unblocked, reach: Reach, edges: Edges, wanted: Marked) -> TowerRows:
        depth, is_causal = self.sizes.depth, about.is_causal
        return rows_of(depth, is_causal, reach.written.vision, reach.read.vision, wanted, edges.attended, edges.kind)

    def _edges(self, about: Unblocked, variant: Variant, written: Marks) -> Edges:
        blockers, start = {}, about.tower.hook_name(0, "").removesuffix("0.")
        for name, standing in variant.reach.at.items():
            if name.startswith(start) and name.endswith("attn.hook_mask"):
                layer = int(name.removeprefix(start).partition(".")[0])
                blockers[layer] = [one for one in standing if isinstance(one, Writer)]
        return Edges(about, blockers, written.asking)

    @cached_property
    def n_layers(self) -> int:
        """The layers of the decoder that are run: none behind the last that is read."""
        n_layers: int = self.decoder.tower.transformer.cfg.n_layers
        if self.wanted.any() or any(one.reach.read.final.any() for one in self.in_parts):
            return n_layers
        read = [one.reach.read.decoder for one in self.in_parts]
        return 1 + max((max((*m.entering, *m.keyed, *m.asking), default=-1) for m in read), default=-1)

    @cached_property
    def sizes(self) -> Sizes:
        """The positions of each stage."""
        if not isinstance(self.model, JoinedTransformer) or self.current.pictures is None:
            return Sizes(0, 0, self.n)
        n_class = int(bool(self.model.vision.cfg.has_class_token))
        n_patches = self.current.pictures.grid.n_patches
        depths = self.model.features.depths(self.model.vision.cfg.n_layers)
        n_features = n_patches + self.model.n_class_tokens
        return Sizes(n_class + n_patches, n_features, self.n, n_class, max(depths), len(depths))

    @property
    def first_feature(self) -> int:
        """The tower's first position that the projector is given."""
        return self.sizes.vision - self.sizes.features

    @cached_property
    def decoder(self) -> Unblocked:
        """The decoder, and who may attend to whom there."""
        tower = next(one for one in self.towers.values() if one.name == "decoder")
        assert self.current.layout is not None
        return Unblocked(self.model, tower, "decoder", self.current, self.current.layout)

    @cached_property
    def vision(self) -> Unblocked | None:
        """The vision tower, and who may attend to whom there; None without pictures."""
        if not self.sizes.vision:
            return None
        sequences = self.current.sequences("vision")
        assert sequences is not None
        return Unblocked(self.model, self.towers["vision"], "vision", self.current, sequences)

    def _in_decoder(self, features: Bool[np.ndarray, " feature"]) -> Marked:
        """The decoder's positions of some features of its pictures."""
        marked = np.zeros(self.n, dtype=bool)
        for spans in self.current.layout.images if features.any() else ():  # type: ignore[union-attr]
            for span in spans:
                marked[span.start : span.stop] |= features
        return marked

    def _of_pictures(self, rows: Rows) -> Bool[np.ndarray, " feature"]:
        """The features that some of the decoder's positions are made of."""
        marked, found = np.zeros(self.n, dtype=bool), np.zeros(self.sizes.features, dtype=bool)
        marked[rows] = True
        for spans in self.current.layout.images:  # type: ignore[union-attr]
            for span in spans:
                found |= marked[span.start : span.stop]
        return found

    @property
    def ends_are_watched(self) -> bool:
        """Whether somebody stands at the final norm or the unembedding."""
        return any(one.reach.read.final.any() or one.reach.written.final.any() for one in self.in_parts)

    @cached_property
    def n_shared_rows(self) -> int:
        """How far the shared run goes: no row behind the last that is read is computed."""
        if getattr(self.decoder.tower.transformer.rotary, "rope_type", "default") not in _OF_ANY_LENGTH:
            return self.n  # positions turn by other angles in a shorter sequence
        read = self.wanted.copy()
        for variant in self.in_parts:
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
    def entries(self) -> Entries:
        """What the model is given."""
        given = self.inputs if isinstance(self.inputs, Mapping) else self.model.prompts_of(self.inputs)
        return entries_of(given, self.model.cfg.n_ctx)

    @cached_property
    def is_real(self) -> Bool[Tensor, "batch pos"] | None:
        """Which positions are no padding; None if all are."""
        mask = self.entries.attention_mask.to(self.model.cfg.device)
        return None if bool(mask.all()) else mask.bool()


def _with_start(marks: Marks, start: Marked) -> Marks:
    return Marks(marks.start | start, marks.entering, marks.keyed, marks.asking)

"""Who may attend to whom in a tower under one condition, for the rows that are asked about and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.towers import Place, Tower
from vlm_lens.attachments.running.current_pass import CurrentPass, Sequences
from vlm_lens.model.positions import Positions
from vlm_lens.recompute.recent import Recent
from vlm_lens.recompute.rows import Marked

CPU = torch.device("cpu")


class Unblocked:
    """Who may attend to whom while nothing is blocked: causality, windows and padding.

    Args:
        model: the whole model.
        tower: whose layers.
        place: whose positions these are.
        current: the pass; what is worked out for it is kept there.
        sequences: what the positions are.
    """

    def __init__(self, model: Any, tower: Tower, place: Place, current: CurrentPass, sequences: Sequences) -> None:
        self.model, self.tower, self.place, self.current, self.sequences = model, tower, place, current, sequences
        cfg = tower.transformer.cfg
        is_real = None if place == "vision" else sequences.mask("all")
        is_real = None if is_real is None or bool(is_real.all()) else is_real
        positions = Positions(sequences.n_rows, sequences.n_positions, 0, is_real, CPU)
        self.is_causal = cfg.attention_dir == "causal"
        self.windows, self._masks = cfg.window_sizes, positions.masks(cfg)
        self.recent: Recent[Tensor] = Recent()

    def allowed(self, layer: int, rows: Int[np.ndarray, " row"]) -> Bool[Tensor, "batch 1 query_pos key_pos"]:
        """What some rows may attend to."""
        mask = self._masks[self.windows[layer]]
        return self.recent.get(
            (self.windows[layer], rows.tobytes()), lambda: mask.allowed[:, :, torch.from_numpy(rows)]
        )


class Edges:
    """Who may attend to whom under one condition.

    Args:
        unblocked: the rule without it.
        blockers: for each layer the writers at its mask.
        touched: for each of these layers the rows that may lose a key, or more.
    """

    def __init__(
        self, unblocked: Unblocked, blockers: Mapping[int, Sequence[Writer]], touched: Mapping[int, Marked]
    ) -> None:
        self.unblocked, self.blockers, self.touched = unblocked, blockers, touched

    def is_known(self, layer: int) -> bool:
        """Whether the edges can be told before anything runs: only blockers of edges stand there, if anybody."""
        return all(isinstance(one, EdgeBlocker) for one in self.blockers.get(layer, ()))

    def allowed(self, layer: int, rows: Int[np.ndarray, " row"]) -> Bool[Tensor, "batch heads query_pos key_pos"]:
        """What some rows may attend to, on the CPU; one tensor for layers that are alike."""
        standing = self.blockers.get(layer, ())
        plain = self.unblocked.allowed(layer, rows)
        if not standing:
            return plain
        return self.unblocked.recent.get((*self.kind(layer), rows.tobytes()), lambda: self._left(layer, plain, rows))

    def _left(
        self, layer: int, plain: Bool[Tensor, "batch 1 query_pos key_pos"], rows: Int[np.ndarray, " row"]
    ) -> Bool[Tensor, "batch heads query_pos key_pos"]:
        left: Tensor = plain
        for one in self.blockers[layer]:
            written = one.write(left, self._here(layer, rows))
            left = left if written is None else written
        return left & plain

    def kind(self, layer: int) -> tuple[Any, ...]:
        """Equal for layers in which the same rows attend to the same positions."""
        standing = self.blockers.get(layer, ())
        if not standing or not self.is_known(layer):
            return ()
        keys = [one.edges_key(layer) for one in standing if isinstance(one, EdgeBlocker)]
        heads = [one.chosen_heads if isinstance(one.chosen_heads, int) else id(one.chosen_heads) for one in standing
                 if isinstance(one, EdgeBlocker)]  # fmt: skip
        return (*keys, *heads, self.unblocked.windows[layer])

    def attended(self, layer: int, rows: Marked) -> Marked:
        """The positions that some rows attend to, or more than these."""
        if not self.blockers.get(layer) or not self.is_known(layer):  # others may open again what one has blocked
            return self._seen_by(rows)
        touched = rows & self.touched[layer]
        attended = self._seen_by(rows & ~touched)
        asking = np.flatnonzero(touched & ~attended)  # who is seen by all before it sees no more than these
        if len(asking):
            attended = attended | self.allowed(layer, asking).flatten(0, 2).any(dim=0).numpy()
        return attended

    def _seen_by(self, rows: Marked) -> Marked:
        """The positions that some rows attend to while nothing is blocked, or more than these."""
        if not rows.any():
            return rows
        if not self.unblocked.is_causal:
            return np.ones_like(rows)
        return np.arange(len(rows)) <= len(rows) - 1 - int(rows[::-1].argmax())

    def _here(self, layer: int, rows: Int[np.ndarray, " row"]) -> Here:
        about = self.unblocked
        hook = about.model.hook_dict[about.tower.hook_name(layer, "attn.hook_mask")]
        span, columns = range(int(rows[0]), int(rows[-1]) + 1), tuple(rows.tolist())
        current = replace(about.current, memo={})  # or masks of every layer would stay until the run has ended
        return Here(about.model, hook, about.place, current, about.sequences, span, CPU, columns)

"""Who may attend to whom in a tower under one condition, for the rows that are asked about and no others."""

from collections.abc import Mapping, Sequence
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
        self._rows: dict[tuple[int | None, bytes], Tensor] = {}

    def allowed(self, layer: int, rows: Int[np.ndarray, " row"]) -> Bool[Tensor, "batch 1 query_pos key_pos"]:
        """What some rows may attend to."""
        key = (self.windows[layer], rows.tobytes())
        if key not in self._rows:
            self._rows[key] = self._masks[self.windows[layer]].allowed[:, :, torch.from_numpy(rows)]
        return self._rows[key]


class Edges:
    """Who may attend to whom under one condition.

    Args:
        unblocked: the rule without it.
        blockers: for each layer the writers at its mask.
    """

    def __init__(self, unblocked: Unblocked, blockers: Mapping[int, Sequence[Writer]]) -> None:
        self.unblocked, self.blockers = unblocked, blockers
        self._found: dict[tuple[Any, ...], Tensor] = {}

    def is_known(self, layer: int) -> bool:
        """Whether the edges can be told before anything runs: only blockers of edges stand there, if anybody."""
        return all(isinstance(one, EdgeBlocker) for one in self.blockers.get(layer, ()))

    def allowed(self, layer: int, rows: Int[np.ndarray, " row"]) -> Bool[Tensor, "batch heads query_pos key_pos"]:
        """What some rows may attend to, on the CPU; one tensor for layers that are alike."""
        standing = self.blockers.get(layer, ())
        plain = self.unblocked.allowed(layer, rows)
        if not standing:
            return plain
        kinds = [(id(one), layer if self._differs(one) else None) for one in standing]
        key = (*kinds, self.unblocked.windows[layer], rows.tobytes())
        if key not in self._found:
            left = plain
            for one in standing:
                written = one.write(left, self._here(layer, rows))
                left = left if written is None else written
            self._found[key] = left & plain
        return self._found[key]

    def attended(self, layer: int, rows: Marked) -> Marked:
        """The positions that some rows attend to, or more than these."""
        if self.blockers.get(layer) and self.is_known(layer):  # another writer may open again what one has blocked
            return self.allowed(layer, np.flatnonzero(rows)).flatten(0, 2).any(dim=0).numpy()
        if not self.unblocked.is_causal:
            return np.ones_like(rows)
        return np.arange(len(rows)) <= len(rows) - 1 - int(rows[::-1].argmax())

    def _differs(self, one: Writer) -> bool:
        return not isinstance(one, EdgeBlocker) or one.edges_differ_by_layer()

    def _here(self, layer: int, rows: Int[np.ndarray, " row"]) -> Here:
        about = self.unblocked
        hook = about.model.hook_dict[about.tower.hook_name(layer, "attn.hook_mask")]
        span, columns = range(int(rows[0]), int(rows[-1]) + 1), tuple(rows.tolist())
        return Here(about.model, hook, about.place, about.current, about.sequences, span, CPU, columns)

"""Noise in the place of blocked values: whoever is blocked from all of it must not move by a bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.verification.asked import positions_of
from vlm_lens.attachments.verification.finding import Finding, title_of
from vlm_lens.attachments.verification.masks import MaskProof, chosen_heads
from vlm_lens.attachments.verification.replay import Looks
from vlm_lens.attachments.verification.tally import Tally
from vlm_lens.errors import VerificationError
from vlm_lens.model.hook_point import HookPoint

_MOST_SETS, _MOST_CANDIDATES, _WORTH_A_RUN = 4, 64, 0.01
"""A blocker that names other keys for each query is tried with a few sets of keys, while one tries a share of edges."""

_LOUDNESS = 30.0
"""Times the largest value: a weight that should be 0 and is only small still shows in the bits."""

Noised = Bool[Tensor, "batch key_pos"]


class NoiseProof:
    """Replays in which some keys' values are noise, and results are set back before anything else reads them.

    In each round, each layer with a blocker has one set of keys noised, at every step: one blocker's keys, or its
    queries where it blocks both directions. Queries that may see none of them must keep their result to the bit;
    queries that see one must not, or the noise would prove nothing.

    Args:
        masks: the proof that watched the first replay, with the results of the layers.
    """

    def __init__(self, masks: MaskProof) -> None:
        self.masks, self.tower = masks, masks.tower
        self.tested: dict[int, Tally] = {id(one): Tally() for one in masks.asked.blockers}
        self.n_moved = self.n_seeing = 0
        self.sets = {} if masks.last_here is None else self._sets(masks.last_here)

    @property
    def n_rounds(self) -> int:
        """How many replays it takes."""
        return max(map(len, self.sets.values()), default=0)

    def looks(self, number: int) -> tuple[Looks, Looks]:
        """The hooks of a round, before and after the writers."""
        layers = [layer for layer, sets in self.sets.items() if number < len(sets)]

        def noised(v: Tensor, here: Here) -> Tensor:
            return self._noised(v, here, number)

        def restored(z: Tensor, here: Here) -> Tensor:
            return self._restored(z, here, number)

        first = [(self._at(layer, "hook_z"), restored, False) for layer in layers]
        return first, [(self._at(layer, "hook_v"), noised, False) for layer in layers]

    def findings(self) -> list[Finding]:
        """What was found, blocker by blocker.

        Raises:
            VerificationError: if no query that sees the noise moved.
        """
        what = f"Noise in the values of the {self.tower.name} tower"
        if self.n_seeing and not self.n_moved:
            raise VerificationError(what, "queries that see it to move", f"none of {self.n_seeing} moved")
        found = []
        for one in self.masks.asked.blockers:
            tally, n_all = self.tested[id(one)], self.masks.edges[id(one)].n
            if not n_all:
                continue
            tally.n_heads = len(chosen_heads(one, self.masks.cfg.n_heads))
            share = "" if tally.n == n_all else f" ({tally.n:,} of {n_all:,} edges)"
            check = f"noise in the place of the blocked values moves no query that is blocked from them{share}"
            found.append(tally.finding(title_of(one), check, "edges", self.masks.asked.is_worked_out(one)))
        if self.n_seeing:
            check = f"of {self.n_seeing:,} queries that see the noise {self.n_moved:,} move, each head counted"
            found.append(Finding(f"{self.tower.name} tower", check))
        return found

    # What the hooks do

    def _noised(self, v: Tensor, here: Here, number: int) -> Tensor:
        keys = self.sets[here.layer or 0][number][:, here.span.start : here.span.stop].to(v.device)
        generator = torch.Generator().manual_seed(1000 * here.step + (here.layer or 0))
        noise = torch.randn(v.shape, generator=generator).to(v.device) * (_LOUDNESS * v.detach().float().abs().max())
        largest = min(torch.finfo(v.dtype).max / 8, 1e30)
        noise = noise.clamp(-largest, largest).to(v.dtype)
        return torch.where(rearrange(keys, "batch pos -> batch pos 1 1"), noise, v)

    def _restored(self, z: Tensor, here: Here, number: int) -> Tensor:
        layer = here.layer or 0
        clean, asked = self.masks.results[layer, here.step], self.masks.asked_at(here)
        sees = self._sees(asked, layer, number, here)
        has_key = asked.any(dim=-1)
        is_moved = rearrange((z != clean).any(dim=-1), "batch query head -> batch head query")
        wrong = is_moved & has_key & ~sees
        if bool(wrong.any()):
            row, head, query = wrong.nonzero()[0].tolist()
            largest = float((z - clean).abs().max())
            raise VerificationError(
                f"Noise in blocked values at {here.name}, step {here.step}",
                f"query {here.span.start + query} (row {row}, head {head}), which sees none of it, to keep every bit",
                f"it moved, and {int(wrong.sum())} queries with it (by {largest:.3g} at most)",
                f"{', '.join(map(repr, self.masks.asked.blockers_in(layer)))} does not hold there.",
            )
        of_all = sees.expand(is_moved.shape)
        self.n_seeing += int(of_all.sum())
        self.n_moved += int((of_all & is_moved).sum())
        self._count(asked, layer, number, here)
        return clean.clone()  # a writer that follows may edit in place

    def _count(self, asked: Tensor, layer: int, number: int, here: Here) -> None:
        """The blocked edges that this round tests and none before it did."""
        tested = self._tested(asked, layer, number, here)
        for earlier in range(number):
            tested = tested & ~self._tested(asked, layer, earlier, here)
        for one in self.masks.asked.blockers_in(layer):
            n = self.masks.n_edges(tested & self.masks.own_edges(one, here))
            self.tested[id(one)].add(here, n)

    def _sees(self, asked: Tensor, layer: int, number: int, here: Here) -> Bool[Tensor, "batch heads query_pos"]:
        """Queries that may see a noised key."""
        keys = self.sets[layer][number][:, : here.span.stop].to(here.device)
        return (asked & keys[:, None, None]).any(dim=-1)

    def _tested(self, asked: Tensor, layer: int, number: int, here: Here) -> Tensor:
        """Edges from queries that see no noised key to those keys."""
        keys = self.sets[layer][number][:, : here.span.stop].to(here.device)
        return ~self._sees(asked, layer, number, here)[..., None] & keys[:, None, None]

    # Which keys

    def _sets(self, here: Here) -> dict[int, list[Noised]]:
        """For each layer with a blocker the sets of keys to noise, over the whole generation."""
        sets: dict[int, list[Noised]] = {}
        made: dict[Any, list[Noised]] = {}
        everywhere = range(here.span.stop)
        for layer in self.masks.asked.layers:
            sets[layer] = []
            for one in self.masks.asked.blockers_in(layer):
                key = id(one), layer if one.edges_differ_by_layer() else None
                if key not in made:
                    made[key] = _key_sets(one, self.masks, replace(here, hook=self._mask_hook(layer), span=everywhere))
                for keys in made[key]:
                    if not any(torch.equal(keys, other) for other in sets[layer]):
                        sets[layer].append(keys)
        return sets

    def _mask_hook(self, layer: int) -> HookPoint:
        return self.tower.transformer.hook_dict[f"blocks.{layer}.attn.hook_mask"]

    def _at(self, layer: int, hook: str) -> str:
        return self.tower.hook_name(layer, f"attn.{hook}")


def _key_sets(one: EdgeBlocker, masks: MaskProof, here: Here) -> list[Noised]:
    """Sets of keys that some queries are blocked from altogether."""
    sequences = here.sequences
    rows = range(sequences.n_rows)
    if one.blocks_rectangle:
        names = ["keys", "queries"] if one.field("bidirectional", False) else ["keys"]
        sides = [[positions_of(sequences, one.field(name), row) for row in rows] for name in names]
    else:
        head = chosen_heads(one, masks.cfg.n_heads)[0]
        edges, allowed = (
            edges[:, head % edges.shape[1]]
            for edges in (masks.asked.blocked_by(one, here) & masks.asked.base(here), masks.asked.asked(here))
        )
        covering = [_covering_sets(edges[row], allowed[row]) for row in rows]
        sides = [[sets[number] if number < len(sets) else () for sets in covering]
                 for number in range(max(map(len, covering)))]  # fmt: skip
    noised = []
    for side in sides:
        keys = torch.zeros(sequences.n_rows, here.span.stop, dtype=torch.bool)
        for row in rows:
            keys[row, [position for position in side[row] if position < here.span.stop]] = True
        noised.append(keys)
    return noised


def _covering_sets(
    edges: Bool[np.ndarray, "query_pos key_pos"], allowed: Bool[np.ndarray, "query_pos key_pos"]
) -> list[tuple[int, ...]]:
    """A few sets of keys that together try as many blocked edges as they can, the best first.

    An edge is tried by a set that has its key, if its query may see nothing of that set.
    """
    candidates = np.unique(edges[edges.any(axis=1)], axis=0)
    candidates = candidates[np.argsort(candidates.sum(axis=1), kind="stable")]
    candidates = candidates[:: len(candidates) // _MOST_CANDIDATES + 1].astype(np.float32)
    sees_none = ~((allowed.astype(np.float32) @ candidates.T) > 0)
    left = edges.astype(np.float32)
    sets: list[tuple[int, ...]] = []
    while len(sets) < _MOST_SETS and len(candidates):
        n_new = ((left @ candidates.T) * sees_none).sum(axis=0)
        best = int(n_new.argmax())
        if n_new[best] < _WORTH_A_RUN * edges.sum():
            break
        sets.append(tuple(np.flatnonzero(candidates[best]).tolist()))
        left[sees_none[:, best]] *= 1 - candidates[best]
    return sets

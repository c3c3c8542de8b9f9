"""Masks, patterns and results of a run, each against what was asked for."""

from collections import defaultdict
from typing import Any

import torch
from einops import einsum, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.hook_names import heads_of
from vlm_lens.attachments.verification.asked import AskedMasks, once_a_pass
from vlm_lens.attachments.verification.finding import Finding, check_within, title_of
from vlm_lens.attachments.verification.replay import Looks
from vlm_lens.attachments.verification.tally import Tally
from vlm_lens.errors import VerificationError

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Of the largest result: the softmax is taken in fp32; half precision rounds weights, values and result once each."""

_MOST_WEIGHTS = 2**26
"""Attention weights that are written out at once: 256 MB in fp32."""


class MaskProof:
    """Watches the attention of one tower in the first replay, and keeps its results for the replays with noise.

    Args:
        asked: the masks that were asked for.
        rewritten: hooks of masks and patterns at which other writers stand (at a pattern's, also those of scores).
        continues: whether later passes read the keys and values of earlier ones.
    """

    def __init__(self, asked: AskedMasks, rewritten: set[str], continues: bool) -> None:
        self.asked, self.rewritten, self.continues = asked, rewritten, continues
        self.tower, self.cfg = asked.tower, asked.tower.transformer.cfg
        masks = {layer for layer in range(self.cfg.n_layers) if self._at(layer, "hook_mask") in rewritten}
        self.watched = sorted(masks.union(asked.layers))
        self.results: dict[tuple[int, int], Float[Tensor, "batch pos head_index d_head"]] = {}
        self.last_here: Here | None = None
        self._queries: dict[int, Tensor] = {}
        self._keys: dict[int, list[Tensor]] = defaultdict(list)
        self._values: dict[int, list[Tensor]] = defaultdict(list)
        self._patterns: dict[int, Tensor] = {}
        self._has_mask: set[tuple[int, int]] = set()
        self._written_masks: dict[tuple[int, int], Tensor] = {}
        self.edges: dict[int, Tally] = {id(one): Tally() for one in asked.blockers}
        self.untouched, self.weights, self.fused = Tally(), Tally(), Tally()
        self.taken = Tally()

    def looks(self) -> tuple[Looks, Looks]:
        """The hooks before and after the writers."""
        first: list[Any] = []
        last: list[Any] = []
        q, k = ("hook_rot_q", "hook_rot_k") if self.cfg.positional_embedding_type == "rotary" else ("hook_q", "hook_k")
        for layer in range(self.cfg.n_layers):
            last.append((self._at(layer, "hook_mask"), self._see_mask, True))
        for layer in self.watched:
            last.append((self._at(layer, q), self._see_queries, True))
            last.append((self._at(layer, k), self._see_keys, True))
            last.append((self._at(layer, "hook_v"), self._see_values, True))
            last.append((self._at(layer, "hook_pattern"), self._see_pattern, True))
            first.append((self._at(layer, "hook_z"), self._see_result, True))
        return first, last

    def findings(self) -> list[Finding]:
        """What was found, blocker by blocker and for the whole tower."""
        found, n_heads = [], self.cfg.n_heads
        for one in self.asked.blockers:
            self.edges[id(one)].n_heads = len(chosen_heads(one, n_heads))
            if not self.edges[id(one)].n:
                found.append(Finding(title_of(one), "it names no edge that exists, and the mask lacks none"))
                continue
            is_apart = self.asked.is_worked_out(one)
            check = "the mask in force lacks each of its edges" + ("" if is_apart else ", by its own `blocked`,")
            check += " and none that was not asked for"
            found.append(self.edges[id(one)].finding(title_of(one), check, "edges", is_apart))
        name = f"{self.tower.name} tower"
        others = "every other layer" if self.watched else "every layer"
        for tally in (self.untouched, self.taken, self.weights, self.fused):
            tally.n_heads = n_heads
        if self.untouched.layers:
            found.append(self.untouched.finding(name, f"the mask of {others} lacks no edge", "queries"))
        if not self.watched:
            return found
        is_apart = not self._written_masks
        if not is_apart:
            self.taken.n_heads = 0  # one mask may stand for all of them
            check = "a writer of hook_mask left masks that lack these edges besides, each head counted"
            found.append(self.taken.finding(name, check, "edges", is_independent=False))
        under = "the mask asked for" if is_apart else "the mask asked for, or left by a writer of hook_mask"
        check = "blocked weights are exactly 0, and the others sum to 1"
        if any(name.endswith("hook_pattern") for name in self.rewritten):
            check += " (or to what was written)"
        found.append(self.weights.finding(name, check, "queries"))
        found.append(self.fused.finding(name, f"the result is pattern @ v under {under}", "queries", is_apart))
        return found

    def forget(self) -> None:
        """Let queries, keys and values go; the results stay."""
        for held in (self._queries, self._keys, self._values, self._patterns):
            held.clear()

    def asked_at(self, here: Here) -> Bool[Tensor, "batch heads query_pos key_pos"]:
        """The mask asked for; where a user's own writer wrote it, the one that was left."""
        written = self._written_masks.get((_layer(here), here.step))
        if written is not None:
            return written
        return once_a_pass(here, ("asked", *self._kind(here)), lambda: self.asked.asked(here))

    def base_at(self, here: Here) -> Bool[Tensor, "batch 1 query_pos key_pos"]:
        """The mask while nothing is blocked."""
        return once_a_pass(here, ("base", *self._kind(here)), lambda: self.asked.base(here))

    def own_edges(self, one: EdgeBlocker, here: Here) -> Bool[Tensor, "batch heads query_pos key_pos"]:
        """The edges that exist and that one blocker takes away."""
        key = ("own", id(one), *self._kind(here))
        return once_a_pass(here, key, lambda: self.asked.blocked_by(one, here) & self.asked.base(here))

    def n_edges(self, edges: Bool[Tensor, "batch heads query_pos key_pos"]) -> int:
        """How many edges these are, counted head by head."""
        return int(edges.sum()) * (self.cfg.n_heads if edges.shape[1] == 1 else 1)

    # What the hooks do

    def _see_mask(self, mask: Tensor, here: Here) -> None:
        layer = _layer(here)
        self._has_mask.add((layer, here.step))
        asked, in_force = self.asked_at(here), mask & self.base_at(here)
        if here.name in self.rewritten:
            # What a user's own writer takes away nobody can foresee; what blockers took away stays away.
            self._written_masks[layer, here.step] = in_force
            asked, before = asked & in_force, asked
            self.taken.add(here, self.n_edges(before & ~asked))
        if not torch.equal(*torch.broadcast_tensors(asked, in_force)):
            self._refuse_mask(in_force, asked, here)
        here_are = self.asked.blockers_in(layer)
        for one in here_are:
            key = ("n edges", id(one), *self._kind(here))
            if key not in here.current.memo:
                here.current.memo[key] = self.n_edges(self.own_edges(one, here))
            self.edges[id(one)].add(here, here.current.memo[key])
        if layer not in self.watched:
            self.untouched.add(here, len(here.span) * here.batch)

    def _see_queries(self, q: Tensor, here: Here) -> None:
        self._queries[_layer(here)] = q

    def _see_keys(self, k: Tensor, here: Here) -> None:
        self._keys[_layer(here)].append(k)

    def _see_values(self, v: Tensor, here: Here) -> None:
        self._values[_layer(here)].append(v)

    def _see_pattern(self, pattern: Tensor, here: Here) -> None:
        self._check_has_mask(here)
        asked = self.asked_at(here)
        where = f"{here.name}, step {here.step}"
        leaked = float(pattern.masked_fill(asked, 0.0).abs().max())
        advice = "A writer of scores or pattern gives weight to blocked edges." if here.name in self.rewritten else ""
        check_within(f"Attention pattern at {where}", "weights of blocked edges that are 0", leaked, 0.0, advice)
        if here.name in self.rewritten:
            self._patterns[_layer(here)] = pattern
            return
        sums = pattern.float().sum(dim=-1)
        has_key = asked.any(dim=-1).expand_as(sums)
        tolerance = TOLERANCES[pattern.dtype]
        deviation = float((sums - 1.0).abs()[has_key].max()) if bool(has_key.any()) else 0.0
        check_within(f"Attention pattern at {where}", "rows that sum to 1", deviation, tolerance)
        self.weights.tolerance = tolerance
        self.weights.add(here, int(has_key.sum()), deviation)

    def _see_result(self, z: Tensor, here: Here) -> None:
        layer = _layer(here)
        where = f"{here.name}, step {here.step}"
        self._check_has_mask(here)
        self.last_here = here
        if layer in self.asked.layers:
            self.results[layer, here.step] = z.clone()  # a writer that follows may edit in place
        asked, v = self.asked_at(here), torch.cat(self._values[layer], dim=1)
        if layer in self._patterns:
            own = read_under(self._patterns.pop(layer), v)
        else:
            q, k = self._queries.pop(layer), torch.cat(self._keys[layer], dim=1)
            own = written_out(q, k, v, asked, self.cfg.attn_scale)
        if not self.continues:
            del self._keys[layer], self._values[layer]
        has_key = asked.any(dim=-1).transpose(1, 2).expand(z.shape[:3])
        if not bool(has_key.any()):
            return
        deviation = float((z.to(own.dtype) - own).abs()[has_key].max() / own[has_key].abs().max().clamp(min=1e-30))
        tolerance = TOLERANCES[z.dtype]
        check_within(f"Result of attention at {where}", "pattern @ v under the mask asked for", deviation, tolerance)
        self.fused.tolerance = tolerance
        self.fused.add(here, int(has_key.sum()), deviation)

    # Details

    def _check_has_mask(self, here: Here) -> None:
        if (_layer(here), here.step) not in self._has_mask:
            what = f"Mask of layer {here.layer}, step {here.step}"
            raise VerificationError(what, "hook_mask to be shown before pattern and result", "it never fired")

    def _refuse_mask(self, in_force: Tensor, asked: Tensor, here: Here) -> None:
        in_force, asked = torch.broadcast_tensors(in_force, asked)
        row, head, query, key = (in_force != asked).nonzero()[0].tolist()
        is_open = bool(in_force[row, head, query, key])
        blockers = [
            one
            for one in self.asked.blockers_in(_layer(here))
            if not is_open
            or bool(self.own_edges(one, here)[row, head % self.own_edges(one, here).shape[1], query, key])
        ]
        what = " with ".join(map(repr, blockers)) or "Nothing that was attached"
        edge = f"the edge from query {here.span.start + query} to key {key} (row {row}, head {head})"
        expected = f"{edge} {'blocked' if is_open else 'left'}"
        n_wrong = int((in_force != asked).sum())
        raise VerificationError(
            f"{what}: mask in force at {here.name}, step {here.step}",
            expected,
            f"{'open' if is_open else 'blocked'} ({n_wrong} edges differ)",
            "" if is_open else "Something else may stand at the mask.",
        )

    def _kind(self, here: Here) -> tuple[Any, ...]:
        """Layers of one kind share their masks."""
        layer = _layer(here)
        blockers = self.asked.blockers_in(layer)
        differs = any(one.edges_differ_by_layer() for one in blockers)
        alike = (self.cfg.window_sizes[layer], *map(id, blockers), layer if differs else None)
        return (self.tower.name, *alike)

    def _at(self, layer: int, hook: str) -> str:
        return self.tower.hook_name(layer, f"attn.{hook}")


def written_out(
    q: Float[Tensor, "batch query_pos head_index d_head"],
    k: Float[Tensor, "batch key_pos kv_head d_head"],
    v: Float[Tensor, "batch key_pos kv_head d_head"],
    allowed: Bool[Tensor, "batch heads query_pos key_pos"],
    attn_scale: float,
) -> Float[Tensor, "batch query_pos head_index d_head"]:
    """What attention gives under a mask, written out in fp32 some heads at a time."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    n_heads = q.shape[2]
    k, v = (repeat(one, "batch key kv d -> batch key (kv group) d", group=n_heads // one.shape[2]) for one in (k, v))
    allowed = allowed.expand(-1, n_heads, -1, -1)
    at_once = max(1, _MOST_WEIGHTS // (q.shape[0] * q.shape[1] * k.shape[1]))
    parts = []
    for start in range(0, n_heads, at_once):
        heads = slice(start, start + at_once)
        some_q, some_k = q[:, :, heads].to(dtype), k[:, :, heads].to(dtype)
        scores = einsum(some_q, some_k, "batch query head d, batch key head d -> batch head query key") / attn_scale
        pattern = torch.softmax(scores.masked_fill(~allowed[:, heads], -torch.inf), dim=-1, dtype=torch.float32)
        parts.append(
            einsum(
                pattern.to(dtype),
                v[:, :, heads].to(dtype),
                "batch head query key, batch key head d -> batch query head d",
            )
        )
    return torch.cat(parts, dim=2)


def read_under(
    pattern: Float[Tensor, "batch head_index query_pos key_pos"], v: Float[Tensor, "batch key_pos kv_head d_head"]
) -> Float[Tensor, "batch query_pos head_index d_head"]:
    """What a pattern that somebody wrote reads from the values."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    v = repeat(v, "batch key kv d -> batch key (kv group) d", group=pattern.shape[1] // v.shape[2]).to(dtype)
    return einsum(pattern.to(dtype), v, "batch head query key, batch key head d -> batch query head d")


def chosen_heads(one: EdgeBlocker, n_heads: int) -> tuple[int, ...]:
    """The heads that a blocker means."""
    return heads_of(one.chosen_heads, n_heads) or tuple(range(n_heads))


def _layer(here: Here) -> int:
    assert here.layer is not None
    return here.layer

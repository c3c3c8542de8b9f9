"""Attention with every hook live and the fused kernel kept wherever nobody rewrites scores or pattern."""

from typing import NamedTuple

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlm_lens._tl import FactoredMatrix
from vlm_lens.errors import HookError
from vlm_lens.model.attention_mask import AttentionMask, Restriction
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.hook_point import HookPoint, MaskHookPoint, value_of_one_gradient_of_other
from vlm_lens.model.key_value_cache import LayerKeysValues
from vlm_lens.model.linear import bias_of, is_plain, weight_of
from vlm_lens.model.packed_rows import PackedRows
from vlm_lens.model.parts import BlockParts
from vlm_lens.model.rotary import RotaryAngles, rotated
from vlm_lens.model.scaled_attention import (
    attention_pattern,
    attention_scores,
    fused_attention,
    read_by,
)


class HeadInput(NamedTuple):
    """A normed input for each head; where no hook wrote it, only its gradient is wanted."""

    normed: Float[Tensor, "batch pos head d_model"]
    is_written: bool


class HeadInputs(NamedTuple):
    """The heads' own inputs to queries, keys and values; None where all heads read the stream as it is."""

    q: HeadInput | None = None
    k: HeadInput | None = None
    v: HeadInput | None = None


class Attention(nn.Module):
    """Multi-head attention around the checkpoint's own linears; keys and values may be grouped.

    Hooks, in the order they fire: `hook_q [batch pos head_index d_head]`, `hook_k`, `hook_v` (with n_key_value_heads),
    `hook_rot_q`, `hook_rot_k` (rotary towers), `hook_mask [batch, 1 or head_index, query_pos, key_pos]`,
    `hook_attn_scores` and `hook_pattern [batch head_index query_pos key_pos]`, `hook_z [batch pos head_index d_head]`,
    `hook_result [batch pos head_index d_model]`. Mask, scores, pattern and result are computed when somebody stands
    there.
    """

    def __init__(self, cfg: TransformerConfig, parts: BlockParts) -> None:
        super().__init__()
        self.cfg = cfg
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = parts.q, parts.k, parts.v, parts.o
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        if cfg.positional_embedding_type == "rotary":
            self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_mask = MaskHookPoint(cfg.n_heads)
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z, self.hook_result = HookPoint(), HookPoint()

    def forward(
        self,
        normed: Float[Tensor, "batch pos d_model"],
        mask: AttentionMask | PackedRows,
        angles: RotaryAngles | None = None,
        past: LayerKeysValues | None = None,
        head_inputs: HeadInputs = HeadInputs(),  # noqa: B008, a tuple cannot change
    ) -> Float[Tensor, "batch asking_pos d_model"]:
        """What the heads together write to the stream, at the positions that ask."""
        asking = mask.asking
        q = self.hook_q(self._heads(self.q_proj, normed, head_inputs.q, asking))
        k = self.hook_k(self._heads(self.k_proj, normed, head_inputs.k))
        v = self.hook_v(self._heads(self.v_proj, normed, head_inputs.v))
        if angles is not None:
            q = self.hook_rot_q(rotated(q, angles if asking is None else angles.at(asking)))
            k = self.hook_rot_k(rotated(k, angles))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if past is not None:
            k, v = past.extended(k, v)
        if isinstance(mask, PackedRows):
            z = mask.read(q, k, v, 1.0 / self.cfg.attn_scale)
        else:
            z = self._read(q, k, v, mask)
        return self._combined(self.hook_z(z))

    def _heads(
        self,
        linear: nn.Module,
        normed: Float[Tensor, "batch pos d_model"],
        own: HeadInput | None,
        asking: Int[Tensor, " asking_pos"] | None = None,
    ) -> Float[Tensor, "batch asking_pos head d_head"]:
        """A projection of the stream, head by head."""
        if asking is not None:
            normed = normed[:, asking]
            own = None if own is None else HeadInput(own.normed[:, asking], own.is_written)
        plain = linear(normed)
        plain = plain.view(*plain.shape[:-1], plain.shape[-1] // self.cfg.d_head, self.cfg.d_head)
        if own is None:
            return plain
        # Each head's input goes through the whole linear, quantised or not, and leaves by that head alone.
        outputs = [linear(own.normed[:, :, head]).view(plain.shape)[:, :, head] for head in range(plain.shape[2])]
        written = torch.stack(outputs, dim=2)
        return written if own.is_written else value_of_one_gradient_of_other(plain, written)

    def _read(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask) -> Tensor:
        """What every query reads: fused, unless a hook rewrote scores or pattern."""
        restriction = self._restriction(mask)
        if self.hook_attn_scores.is_idle and self.hook_pattern.is_idle:
            return self._fused(q, k, v, mask, restriction)

        allowed = mask.allowed if restriction is None else restriction.allowed
        rows = self._rows_asked(mask.n_queries)
        if rows is not None:
            if rows:
                self._show_rows(rows, mask.index_of(rows), q, k, allowed)
            return self._fused(q, k, v, mask, restriction)
        scores = attention_scores(q, k, allowed, 1.0 / self.cfg.attn_scale)
        scores, is_scores_written = self.hook_attn_scores.observe(scores)
        if self.hook_attn_scores.only_reads and self.hook_pattern.is_idle:
            return self._fused(q, k, v, mask, restriction)
        pattern, is_pattern_written = self.hook_pattern.observe(attention_pattern(scores))
        if is_scores_written or is_pattern_written:
            return read_by(pattern, v)
        fused = self._fused(q, k, v, mask, restriction)
        only_reads = self.hook_attn_scores.only_reads and self.hook_pattern.only_reads
        if only_reads or not pattern.requires_grad:
            return fused
        return value_of_one_gradient_of_other(fused, read_by(pattern, v))

    def _rows_asked(self, n_queries: int) -> tuple[int, ...] | None:
        """The query rows that those at scores and pattern look at; None where all must be written out."""
        of_scores, of_pattern = self.hook_attn_scores.rows_asked(), self.hook_pattern.rows_asked()
        if of_scores is None or of_pattern is None:
            return None
        rows = of_scores or of_pattern
        if of_scores and of_pattern and of_scores != of_pattern:
            rows = tuple(sorted({*of_scores, *of_pattern}))
        return rows if len(rows) < n_queries else None

    def _show_rows(self, rows: tuple[int, ...], index: slice | Tensor, q: Tensor, k: Tensor, allowed: Tensor) -> None:
        """Scores and pattern of some queries, for those that read these alone."""
        scores = attention_scores(q[:, :, index], k, allowed[:, :, index], 1.0 / self.cfg.attn_scale)
        self.hook_attn_scores.show(rows, scores)
        if not self.hook_pattern.is_idle:
            self.hook_pattern.show(rows, attention_pattern(scores))

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, restriction: Restriction | None) -> Tensor:
        """The fused result. Only queries that lost a key are given a mask; all others keep their bits and speed."""
        scale = 1.0 / self.cfg.attn_scale
        if restriction is not None and restriction.is_everywhere:
            return fused_attention(q, k, v, restriction.allowed, False, scale)
        z = fused_attention(q, k, v, mask.kernel_mask, mask.kernel_flag, scale)
        if restriction is None:
            return z
        rows = restriction.rows
        part = fused_attention(q[:, :, rows], k, v, restriction.allowed[:, :, rows], False, scale)
        return z.index_copy(1, rows, part)

    def _restriction(self, mask: AttentionMask) -> Restriction | None:
        """What hooks left of the mask; None where they blocked nothing."""
        if self.hook_mask.is_idle:
            return None
        seen = self.hook_mask(mask.allowed)
        if seen is mask.allowed or self.hook_mask.only_reads:
            return None
        restriction = mask.restricted(seen)
        if restriction.lonely:
            raise HookError(
                f"Hook on {self.hook_mask.name}",
                "every query to keep at least one key",
                f"none for query position {', '.join(map(str, restriction.lonely[:8]))}",
                "Leave each query itself, or the first position, to attend to.",
            )
        return restriction if len(restriction.rows) else None

    def _combined(self, z: Float[Tensor, "batch pos head_index d_head"]) -> Tensor:
        """The heads' results, summed by the output linear."""
        plain = self.o_proj(rearrange(z, "batch pos head d_head -> batch pos (head d_head)"))
        if self.hook_result.is_idle:
            return plain
        result, is_written = self.hook_result.observe(self.head_results(z))
        if self.hook_result.only_reads:
            return plain
        written = result.sum(dim=2) + self.o_proj(torch.zeros_like(z[:1, :1]).flatten(2))
        if is_written:
            return written
        return value_of_one_gradient_of_other(plain, written) if written.requires_grad else plain

    def head_results(
        self, z: Float[Tensor, "batch pos head_index d_head"]
    ) -> Float[Tensor, "batch pos head_index d_model"]:
        """What each head writes to the stream, without the bias."""
        if is_plain(self.o_proj):
            pattern = "batch pos head d_head, head d_head d_model -> batch pos head d_model"
            return einsum(z, self.W_O, pattern)
        empty = torch.zeros_like(z)
        nothing = self.o_proj(empty.flatten(2))
        results = []
        for head in range(z.shape[2]):
            alone = empty.clone()
            alone[:, :, head] = z[:, :, head]
            results.append(self.o_proj(alone.flatten(2)) - nothing)
        return torch.stack(results, dim=2)

    def _weight(self, linear: nn.Module, name: str) -> Float[Tensor, "head d_model d_head"]:
        weight = weight_of(linear, f"{name} of {getattr(self, 'name', 'attention')}")
        return rearrange(weight, "(head d_head) d_model -> head d_model d_head", d_head=self.cfg.d_head)

    def _bias(self, linear: nn.Module, n_heads: int) -> Float[Tensor, "head d_head"]:
        bias = bias_of(linear, n_heads * self.cfg.d_head)
        return rearrange(bias, "(head d_head) -> head d_head", head=n_heads)

    def _over_groups(self, heads: Float[Tensor, "kv_head ..."]) -> Float[Tensor, "head_index ..."]:
        return heads.repeat_interleave(self.cfg.n_heads // self.cfg.n_kv, dim=0)

    @property
    def W_Q(self) -> Float[Tensor, "head_index d_model d_head"]:
        """Query weights, a view of the checkpoint's."""
        return self._weight(self.q_proj, "W_Q")

    @property
    def W_K(self) -> Float[Tensor, "head_index d_model d_head"]:
        """Key weights for each query head: a view, or repeated where keys are grouped (`_W_K` is the view)."""
        return self._W_K if self.cfg.n_kv == self.cfg.n_heads else self._over_groups(self._W_K)

    @property
    def W_V(self) -> Float[Tensor, "head_index d_model d_head"]:
        """Value weights for each query head: a view, or repeated where values are grouped (`_W_V` is the view)."""
        return self._W_V if self.cfg.n_kv == self.cfg.n_heads else self._over_groups(self._W_V)

    @property
    def _W_K(self) -> Float[Tensor, "kv_head d_model d_head"]:
        return self._weight(self.k_proj, "W_K")

    @property
    def _W_V(self) -> Float[Tensor, "kv_head d_model d_head"]:
        return self._weight(self.v_proj, "W_V")

    @property
    def W_O(self) -> Float[Tensor, "head_index d_head d_model"]:
        """Output weights, a view of the checkpoint's."""
        weight = weight_of(self.o_proj, f"W_O of {getattr(self, 'name', 'attention')}")
        return rearrange(weight, "d_model (head d_head) -> head d_head d_model", d_head=self.cfg.d_head)

    @property
    def b_Q(self) -> Float[Tensor, "head_index d_head"]:
        """Query biases, zeros where the checkpoint has none."""
        return self._bias(self.q_proj, self.cfg.n_heads)

    @property
    def b_K(self) -> Float[Tensor, "head_index d_head"]:
        """Key biases for each query head."""
        return self._over_groups(self._bias(self.k_proj, self.cfg.n_kv))

    @property
    def b_V(self) -> Float[Tensor, "head_index d_head"]:
        """Value biases for each query head."""
        return self._over_groups(self._bias(self.v_proj, self.cfg.n_kv))

    @property
    def b_O(self) -> Float[Tensor, " d_model"]:
        """The output bias, zeros where the checkpoint has none."""
        return bias_of(self.o_proj, self.cfg.d_model)

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_K^T of each head, factored."""
        return FactoredMatrix(self.W_Q, rearrange(self.W_K, "head d_model d_head -> head d_head d_model"))

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of each head, factored."""
        return FactoredMatrix(self.W_V, self.W_O)

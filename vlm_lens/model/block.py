"""One layer of a tower: attention and MLP, each reading the stream through a norm and adding to it."""

from typing import Literal

from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.model.attention import Attention, HeadInput, HeadInputs
from vlm_lens.model.attention_mask import AttentionMask
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.key_value_cache import LayerKeysValues
from vlm_lens.model.mlp import MLP
from vlm_lens.model.norm import Norm
from vlm_lens.model.packed_rows import PackedRows
from vlm_lens.model.parts import BlockParts
from vlm_lens.model.rotary import RotaryAngles


class TransformerBlock(nn.Module):
    """A pre-norm block, with TransformerLens's hooks on the stream and on what is added to it.

    All hooks here are `[batch pos d_model]`, except those on a head's own input, before the norm: `hook_attn_in` and
    `hook_q_input [batch pos head_index d_model]`, `hook_k_input` and `hook_v_input` (with n_key_value_heads). These and
    `hook_mlp_in` are made when a hook stands there, and writing them leaves the stream itself alone.
    Under grouped keys there is no `hook_attn_in` (as in TransformerLens): a group's key has one input.
    """

    def __init__(self, cfg: TransformerConfig, parts: BlockParts) -> None:
        super().__init__()
        self.cfg = cfg
        kind: Literal["LN", "RMS"] = "LN" if cfg.normalization_type == "LN" else "RMS"
        self.ln1 = Norm(parts.ln1, kind, cfg.eps)
        self.ln2 = Norm(parts.ln2, kind, cfg.eps)
        self.attn = Attention(cfg, parts)
        self.mlp = MLP(cfg, parts)
        if cfg.n_kv == cfg.n_heads:
            self.hook_attn_in = HookPoint()
        self.hook_q_input, self.hook_k_input, self.hook_v_input = HookPoint(), HookPoint(), HookPoint()
        self.hook_mlp_in = HookPoint()
        self.hook_attn_out, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_pre, self.hook_resid_mid = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        mask: AttentionMask | PackedRows,
        angles: RotaryAngles | None = None,
        past: LayerKeysValues | None = None,
    ) -> Float[Tensor, "batch asking_pos d_model"]:
        """The stream after this layer, at the positions that ask: all of them, but for packed rows."""
        resid_pre = self.hook_resid_pre(resid_pre)
        attn_out = self.attn(self.ln1(resid_pre), mask, angles, past, self._head_inputs(resid_pre))
        attn_out = self.hook_attn_out(attn_out)
        resid_pre = resid_pre if mask.asking is None else resid_pre[:, mask.asking]
        resid_mid = self.hook_resid_mid(resid_pre + attn_out)
        mlp_out = self.hook_mlp_out(self.mlp(self.ln2(self.hook_mlp_in(resid_mid))))
        return self.hook_resid_post(resid_mid + mlp_out)

    def _head_inputs(self, resid_pre: Float[Tensor, "batch pos d_model"]) -> HeadInputs:
        """Each head's own input, where somebody stands at one and may have written it."""
        shared = None
        if self.cfg.n_kv == self.cfg.n_heads and not self.hook_attn_in.is_idle:
            shared = self.hook_attn_in.observe(self._per_head(resid_pre, self.cfg.n_heads))
        return HeadInputs(
            self._head_input(self.hook_q_input, resid_pre, self.cfg.n_heads, shared),
            self._head_input(self.hook_k_input, resid_pre, self.cfg.n_kv, shared),
            self._head_input(self.hook_v_input, resid_pre, self.cfg.n_kv, shared),
        )

    def _head_input(
        self, hook: HookPoint, resid_pre: Tensor, n_heads: int, shared: tuple[Tensor, bool] | None
    ) -> HeadInput | None:
        """What one of the three hooks, after the one they share, left of the stream for each head."""
        if hook.is_idle and shared is None:
            return None
        seen, is_written = (self._per_head(resid_pre, n_heads), False) if shared is None else shared
        if not hook.is_idle:
            seen, is_own = hook.observe(seen)
            is_written = is_written or is_own
        only_reads = hook.only_reads and (shared is None or self.hook_attn_in.only_reads)
        if is_written or (seen.requires_grad and not only_reads):
            return HeadInput(self._normed(seen), is_written)
        return None

    def _normed(self, per_head: Tensor) -> Tensor:
        """Heads' inputs through the first norm. Whoever writes the norm's hooks is shown these too, head by head."""
        is_norm_written = not (self.ln1.hook_scale.only_reads and self.ln1.hook_normalized.only_reads)
        return self.ln1(per_head) if is_norm_written else self.ln1.norm(per_head)

    def _per_head(self, resid: Tensor, n_heads: int) -> Tensor:
        return repeat(resid, "batch pos d_model -> batch pos head d_model", head=n_heads)

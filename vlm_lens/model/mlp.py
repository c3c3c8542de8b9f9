"""The MLP, gated (LLaMA) or plain (CLIP), around the checkpoint's own linears."""

from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.linear import bias_of, weight_of
from vlm_lens.model.parts import BlockParts


class MLP(nn.Module):
    """Two linears and a non-linearity; a gated one multiplies by a third linear's output.

    `hook_pre [batch pos d_mlp]` goes into the non-linearity, `hook_pre_linear` is what a gate multiplies (gated
    only), `hook_post` goes into the last linear.
    """

    def __init__(self, cfg: TransformerConfig, parts: BlockParts) -> None:
        super().__init__()
        self.cfg = cfg
        self.mlp_in, self.mlp_gate, self.mlp_out = parts.mlp_in, parts.mlp_gate, parts.mlp_out
        self.activation = parts.activation
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()
        if self.mlp_gate is not None:
            self.hook_pre_linear = HookPoint()

    def forward(self, normed: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """What the MLP writes to the stream."""
        if self.mlp_gate is None:
            pre = self.hook_pre(self.mlp_in(normed))
            return self.mlp_out(self.hook_post(self.activation(pre)))
        pre = self.hook_pre(self.mlp_gate(normed))
        pre_linear = self.hook_pre_linear(self.mlp_in(normed))
        return self.mlp_out(self.hook_post(self.activation(pre) * pre_linear))

    def _weight(self, linear: nn.Module, name: str) -> Tensor:
        return weight_of(linear, f"{name} of {getattr(self, 'name', 'MLP')}").T

    @property
    def W_in(self) -> Float[Tensor, "d_model d_mlp"]:
        """Input weights, a view of the checkpoint's (in a gated MLP, those of the linear part)."""
        return self._weight(self.mlp_in, "W_in")

    @property
    def W_gate(self) -> Float[Tensor, "d_model d_mlp"] | None:
        """The gate's weights, a view of the checkpoint's; None in a plain MLP."""
        return None if self.mlp_gate is None else self._weight(self.mlp_gate, "W_gate")

    @property
    def W_out(self) -> Float[Tensor, "d_mlp d_model"]:
        """Output weights, a view of the checkpoint's."""
        return self._weight(self.mlp_out, "W_out")

    @property
    def b_in(self) -> Float[Tensor, " d_mlp"]:
        """Input bias, zeros where the checkpoint has none."""
        assert self.cfg.d_mlp is not None
        return bias_of(self.mlp_in, self.cfg.d_mlp)

    @property
    def b_out(self) -> Float[Tensor, " d_model"]:
        """Output bias, zeros where the checkpoint has none."""
        return bias_of(self.mlp_out, self.cfg.d_model)

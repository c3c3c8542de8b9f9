"""LayerNorm and RMSNorm around the checkpoint's own module, with TransformerLens's two hooks beside it."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.model.hook_point import HookPoint, value_of_one_gradient_of_other


class Norm(nn.Module):
    """A norm whose result is the checkpoint's own module's, unless a hook writes its scale or normalized value.

    `hook_scale [batch pos 1]` is the denominator (its square root taken, eps inside), `hook_normalized [batch pos
    d_model]` what it leaves, *before* weight and bias, in fp32: where TransformerLens 3.9 has them.

    Args:
        norm: the checkpoint's module.
        kind: "RMS", or "LN", which subtracts the mean first.
        eps: the checkpoint's epsilon.
    """

    def __init__(self, norm: nn.Module, kind: Literal["RMS", "LN"], eps: float) -> None:
        super().__init__()
        self.norm, self.kind, self.eps = norm, kind, eps
        self.hook_scale = HookPoint()
        self.hook_normalized = HookPoint()

    @property
    def w(self) -> Float[Tensor, " d_model"]:
        """The norm's weight."""
        return self.norm.weight  # type: ignore[return-value]

    @property
    def b(self) -> Float[Tensor, " d_model"] | None:
        """The norm's bias, where it has one."""
        return getattr(self.norm, "bias", None)

    def forward(self, x: Float[Tensor, "*batch pos d_model"]) -> Float[Tensor, "*batch pos d_model"]:
        """The normed activation, for a block's sublayer or the unembedding to read."""
        plain = self.norm(x)
        if self.hook_scale.is_idle and self.hook_normalized.is_idle:
            return plain
        centred = self._centred(x)
        scale = (centred.pow(2).mean(dim=-1, keepdim=True) + self.eps).sqrt()
        scale, is_scale_written = self.hook_scale.observe(scale)
        normalized, is_written = self.hook_normalized.observe(centred / scale)
        if self.hook_scale.only_reads and self.hook_normalized.only_reads:
            return plain
        written = normalized.to(x.dtype) * self.w
        written = written if self.b is None else written + self.b
        if is_scale_written or is_written:
            return written
        return value_of_one_gradient_of_other(plain, written) if written.requires_grad else plain

    def _centred(self, x: Tensor) -> Tensor:
        x = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
        return x - x.mean(dim=-1, keepdim=True) if self.kind == "LN" else x

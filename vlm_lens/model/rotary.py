"""Rotary positions: the checkpoint's own angles, turned in TransformerLens's layout."""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


class RotaryAngles(NamedTuple):
    """Cosine and sine of every position's angles, one for all heads."""

    cos: Float[Tensor, "batch pos 1 rotary_dim"]
    sin: Float[Tensor, "batch pos 1 rotary_dim"]

    @classmethod
    def of(
        cls, cos: Float[Tensor, "batch pos rotary_dim"], sin: Float[Tensor, "batch pos rotary_dim"]
    ) -> "RotaryAngles":
        """From what the checkpoint's rotary module gives."""
        return cls(*(rearrange(x, "batch pos rotary_dim -> batch pos 1 rotary_dim") for x in (cos, sin)))

    def to(self, device: torch.device) -> "RotaryAngles":
        """The same angles on another device."""
        return RotaryAngles(self.cos.to(device), self.sin.to(device))

    def at(self, columns: Int[Tensor, " taken"]) -> "RotaryAngles":
        """The angles of some positions."""
        return RotaryAngles(self.cos[:, columns], self.sin[:, columns])

    def after(self, n_before: int) -> "RotaryAngles":
        """The angles of all positions but the first ones."""
        return RotaryAngles(self.cos[:, n_before:], self.sin[:, n_before:]) if n_before else self


def rotated(
    heads: Float[Tensor, "batch pos head_index d_head"], angles: RotaryAngles
) -> Float[Tensor, "batch pos head_index d_head"]:
    """Queries or keys, turned by their positions' angles.

    The halves of the rotated components form the pairs (the layout of LLaMA checkpoints in `transformers`); components
    beyond `rotary_dim` pass unturned.
    """
    cos, sin = angles
    rotary_dim = cos.shape[-1]
    turning, passing = heads[..., :rotary_dim], heads[..., rotary_dim:]
    first, second = turning.chunk(2, dim=-1)
    turned = turning * cos + torch.cat((-second, first), dim=-1) * sin
    return turned if rotary_dim == heads.shape[-1] else torch.cat((turned, passing), dim=-1)

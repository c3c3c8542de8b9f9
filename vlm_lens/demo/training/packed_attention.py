"""Attention over one picture and many question turns packed behind it.

The sequence is a shared prefix (`<s> USER: <image>...`), then groups of turns, every turn of a group padded
at its end to the same length. Each turn sees the prefix and itself, causally, and no other turn; with
positions that restart behind the prefix this is what the turn would see alone. Written out with matrix
products, since the blocks are small: three times as fast here as the fused kernel under a boolean mask.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

PACKED_TURNS = "packed_turns"
"""The name under which transformers finds this attention."""

SPREAD = "spread"
"""The name of plain attention without a mask, for the vision tower."""


@dataclass(frozen=True)
class TurnGroup:
    """Turns of one padded length.

    Attributes:
        n_turns: Turns behind each picture.
        length: Tokens of each turn, padding included.
    """

    n_turns: int
    length: int


@dataclass(frozen=True)
class PackedLayout:
    """Where the prefix and the turns stand in the sequence.

    Attributes:
        n_prefix: Tokens that all turns share.
        groups: The groups in their order.
    """

    n_prefix: int
    groups: tuple[TurnGroup, ...]

    @property
    def n_positions(self) -> int:
        """Length of the packed sequence."""
        return self.n_prefix + sum(group.n_turns * group.length for group in self.groups)

    def position_ids(self) -> Int[Tensor, " pos"]:
        """Rotary positions: they restart behind the prefix for every turn."""
        parts = [torch.arange(self.n_prefix)]
        for group in self.groups:
            own = torch.arange(self.n_prefix, self.n_prefix + group.length)
            parts.append(own.repeat(group.n_turns))
        return torch.cat(parts)


def _causal(scores: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query key"]:
    """Blocks keys behind the query; the query axis may hold several heads' rows, one after another."""
    n_keys = scores.shape[-1]
    allowed = torch.ones(n_keys, n_keys, dtype=torch.bool, device=scores.device).tril()
    allowed = allowed.repeat(scores.shape[-2] // n_keys, 1)
    return scores.masked_fill(~allowed, -math.inf)


def packed_attention(
    query: Float[Tensor, "batch head_index pos d_head"],
    key: Float[Tensor, "batch key_value_head pos d_head"],
    value: Float[Tensor, "batch key_value_head pos d_head"],
    layout: PackedLayout,
    scale: float,
) -> Float[Tensor, "batch pos head_index d_head"]:
    """Attention in which every turn sees the prefix and itself."""
    n_shared = query.shape[1] // key.shape[1]
    query = rearrange(query * scale, "b (kv shared) pos d -> b kv shared pos d", shared=n_shared)
    prefix = slice(0, layout.n_prefix)
    prefix_keys, prefix_values = key[:, :, prefix], value[:, :, prefix]

    rows = rearrange(query[..., prefix, :], "b kv shared pos d -> b kv (shared pos) d")
    pattern = _causal(rows @ prefix_keys.transpose(-1, -2)).softmax(-1)
    mixed = rearrange(pattern @ prefix_values, "b kv (shared pos) d -> b pos (kv shared) d", shared=n_shared)
    outputs = [mixed]

    start = layout.n_prefix
    for group in layout.groups:
        n_turns, end = group.n_turns, start + group.n_turns * group.length
        rows = rearrange(
            query[..., start:end, :],
            "b kv shared (turn pos) d -> b kv turn (shared pos) d",
            turn=n_turns,
        )
        own_keys, own_values = (
            rearrange(side[:, :, start:end], "b kv (turn pos) d -> b kv turn pos d", turn=n_turns)
            for side in (key, value)
        )
        flat = rearrange(rows, "b kv turn row d -> b kv (turn row) d")
        to_prefix = flat @ prefix_keys.transpose(-1, -2)
        to_own = _causal(rows @ own_keys.transpose(-1, -2))
        to_own = rearrange(to_own, "b kv turn row key -> b kv (turn row) key")
        pattern = torch.cat([to_prefix, to_own], dim=-1).softmax(-1)
        own_pattern = rearrange(
            pattern[..., layout.n_prefix :], "b kv (turn row) key -> b kv turn row key", turn=n_turns
        )
        mixed = pattern[..., : layout.n_prefix] @ prefix_values
        mixed = mixed + rearrange(own_pattern @ own_values, "b kv turn row d -> b kv (turn row) d")
        outputs.append(
            rearrange(
                mixed,
                "b kv (turn shared pos) d -> b (turn pos) (kv shared) d",
                turn=n_turns,
                shared=n_shared,
            )
        )
        start = end
    return torch.cat(outputs, dim=1)


def _packed_interface(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    *,
    packed_layout: PackedLayout,
    **_: Any,
) -> tuple[Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        value = value.to(query.dtype)
        return packed_attention(query, key.to(query.dtype), value, packed_layout, scaling), None


def _spread_interface(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        scores = (query * scaling) @ key.transpose(-1, -2)
        return rearrange(scores.softmax(-1) @ value, "b head pos d -> b pos head d"), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Neither attention takes a mask from transformers."""


AttentionInterface.register(PACKED_TURNS, _packed_interface)
AttentionMaskInterface.register(PACKED_TURNS, _no_mask)
AttentionInterface.register(SPREAD, _spread_interface)
AttentionMaskInterface.register(SPREAD, _no_mask)

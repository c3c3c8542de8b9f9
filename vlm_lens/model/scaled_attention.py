"""Scaled dot-product attention twice: fused as `transformers` calls it, and written out step by step."""

import torch
import torch.nn.functional as functional
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor


def repeated_over_groups(
    heads: Float[Tensor, "batch kv_head pos d_head"], n_heads: int
) -> Float[Tensor, "batch head_index pos d_head"]:
    """Grouped keys or values, once for each query head that reads them."""
    group = n_heads // heads.shape[1]
    if group == 1:
        return heads
    return repeat(heads, "batch head pos d_head -> batch (head group) pos d_head", group=group)


def fused_attention(
    q: Float[Tensor, "batch head_index query_pos d_head"],
    k: Float[Tensor, "batch kv_head key_pos d_head"],
    v: Float[Tensor, "batch kv_head key_pos d_head"],
    mask: Bool[Tensor, "batch heads query_pos key_pos"] | None,
    is_causal: bool,
    scale: float,
) -> Float[Tensor, "batch query_pos head_index d_head"]:
    """What every query reads, by torch's fused kernel.

    Grouped heads are handled in the three ways that `transformers` does (its `sdpa_attention_forward`), so that
    the same kernel runs on the same operands and the result is the same to the bit.
    """
    n_heads, n_queries, group = q.shape[1], q.shape[2], q.shape[1] // k.shape[1]
    enable_gqa = group > 1 and mask is None and k.shape[-1] <= 256
    if group > 1 and not enable_gqa:
        if n_queries == 1:
            q = rearrange(q, "batch (kv group) 1 d_head -> batch kv group d_head", group=group)
            if mask is not None and mask.shape[1] > 1:
                mask = rearrange(mask, "batch (kv group) 1 key -> batch kv group key", group=group)
        else:
            k, v = repeated_over_groups(k, n_heads), repeated_over_groups(v, n_heads)
    z = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    z = z.reshape(z.shape[0], n_heads, n_queries, z.shape[-1])
    return z.transpose(1, 2).contiguous()


def attention_scores(
    q: Float[Tensor, "batch head_index query_pos d_head"],
    k: Float[Tensor, "batch kv_head key_pos d_head"],
    allowed: Bool[Tensor, "batch heads query_pos key_pos"],
    scale: float,
) -> Float[Tensor, "batch head_index query_pos key_pos"]:
    """Scaled scores, -inf where attending is not allowed.

    For half-precision heads the product is taken in fp32: it can exceed what fp16 holds before it is scaled.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    keys = repeated_over_groups(k, q.shape[1]).to(dtype)
    scores = q.to(dtype) @ keys.transpose(-1, -2) * scale
    return scores.to(q.dtype).masked_fill_(~allowed, -torch.inf)  # made here, so that it may be written in place


def attention_pattern(
    scores: Float[Tensor, "batch head_index query_pos key_pos"],
) -> Float[Tensor, "batch head_index query_pos key_pos"]:
    """The softmax of the scores, taken in fp32; a query that may attend to nothing (padding) has a row of zeros."""
    if not scores.requires_grad:
        pattern = torch.softmax(scores, dim=-1, dtype=torch.float32)
        is_alone = scores.amax(dim=-1, keepdim=True) == -torch.inf
        # Asking whether there is one spares a CPU a pass over the pattern, and would have a GPU waited for.
        if scores.device.type != "cpu" or bool(is_alone.any()):
            pattern = pattern.masked_fill_(is_alone, 0.0)
        return pattern.to(scores.dtype)
    has_key = (scores > -torch.inf).any(dim=-1, keepdim=True)  # a softmax over nothing has no gradient
    pattern = torch.softmax(scores.masked_fill(~has_key, 0.0), dim=-1, dtype=torch.float32)
    return pattern.masked_fill(~has_key, 0.0).to(scores.dtype)


def read_by(
    pattern: Float[Tensor, "batch head_index query_pos key_pos"],
    v: Float[Tensor, "batch kv_head key_pos d_head"],
) -> Float[Tensor, "batch query_pos head_index d_head"]:
    """What every query reads under a written-out pattern."""
    z = pattern.to(v.dtype) @ repeated_over_groups(v, pattern.shape[1])
    return z.transpose(1, 2).contiguous()

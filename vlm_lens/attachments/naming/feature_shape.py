"""The shape and precision of what one position has at a hook: what a value written there must have."""

from typing import Any

import torch

from vlm_lens.attachments.naming.towers import OF_PICTURES, n_heads_at, place_of, towers_of
from vlm_lens.model.hooked_root import position_axis

_BY_QUERY_AND_KEY = ("hook_attn_scores", "hook_pattern", "hook_mask")
_OF_NEURONS = ("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post")
_OF_NORMS = ("hook_scale", "hook_normalized")
_PROJECTED = {"hook_image_embed": "visual_projection", "hook_text_embed": "text_projection"}


def feature_shape(model: Any, hook_name: str) -> tuple[int, ...] | None:
    """The shape of one position's activation: `(d_model,)`, or `(head_index, d_head)` where heads are told apart.

    None for scores, pattern and mask, which have an entry for each query and key.
    """
    if hook_name.endswith(_BY_QUERY_AND_KEY):
        return None
    if hook_name in _PROJECTED:
        return (int(getattr(model, _PROJECTED[hook_name]).out_features),)
    if hook_name.startswith("projector."):
        linear_in, linear_out = model.projector.linear_in, model.projector.linear_out
        widths = {"hook_in": linear_in.in_features, "hook_out": linear_out.out_features}
        return (int(widths.get(hook_name.removeprefix("projector."), linear_in.out_features)),)
    place = place_of(model, hook_name)
    cfg = towers_of(model)["vision" if place in OF_PICTURES else place].transformer.cfg
    if hook_name.endswith("hook_scale"):
        return (1,)
    if hook_name.endswith("unembed.hook_out"):
        return (int(cfg.d_vocab),)
    if hook_name.endswith(_OF_NEURONS):
        assert cfg.d_mlp is not None
        return (int(cfg.d_mlp),)
    if position_axis(hook_name) == -2:
        return (int(cfg.d_model),)
    n_heads = n_heads_at(model, hook_name)
    assert n_heads is not None
    is_stream = hook_name.endswith(("hook_result", "_in", "_input"))
    return (n_heads, int(cfg.d_model if is_stream else cfg.d_head))


def activation_dtype(model: Any, hook_name: str) -> torch.dtype:
    """The precision of a hook's activations: its tower's, but that norms work in fp32 at least."""
    place, towers = place_of(model, hook_name), towers_of(model)
    is_of_pictures = place in OF_PICTURES or hook_name == "hook_image_embed"
    name = "vision" if is_of_pictures else "text" if place == "none" else place
    dtype: torch.dtype = towers[name].transformer.cfg.dtype
    return torch.promote_types(dtype, torch.float32) if hook_name.endswith(_OF_NORMS) else dtype

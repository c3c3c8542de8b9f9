"""The towers of a model, and which of them a hook belongs to."""

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from vlm_lens.errors import HookError
from vlm_lens.layout import PatchGrid
from vlm_lens.model.hooked_root import position_axis
from vlm_lens.model.transformer import HookedTransformer

Place = Literal["decoder", "vision", "text", "patches", "features", "none"]
"""Whose positions an activation has: a tower's own, the patches alone (their embedding), what the decoder is given of
each picture (the projector; patches, and the class token where the checkpoint keeps it), or none."""

OF_PICTURES: Final = ("vision", "patches", "features")
"""The places whose batch is pictures."""


@dataclass(frozen=True, eq=False)
class Tower:
    """One transformer of a model.

    Attributes:
        name: "decoder", "vision" or "text".
        prefix: what its hook names begin with in the whole model.
        transformer: the tower.
    """

    name: str
    prefix: str
    transformer: HookedTransformer

    def hook_name(self, layer: int, hook: str) -> str:
        """The name of a hook in a layer: `hook_name(3, "attn.hook_mask")`."""
        return f"{self.prefix}blocks.{layer}.{hook}"


def towers_of(model: Any) -> dict[str, Tower]:
    """The towers by name: decoder and vision of a vision-language model, vision and text of CLIP, or one alone."""
    parts = {name: getattr(model, name, None) for name in ("vision", "text")}
    towers = {
        name: Tower(name, f"{name}.", part) for name, part in parts.items() if isinstance(part, HookedTransformer)
    }
    if isinstance(model, HookedTransformer):
        name = "vision" if model.cfg.input_type == "pixels" else "decoder"
        towers = {name: Tower(name, "", model), **towers}
    return towers


def tower_named(model: Any, name: str) -> Tower:
    """A tower of a model.

    Raises:
        HookError: for a tower that the model has not.
    """
    towers = towers_of(model)
    if name not in towers:
        advice = " or ".join(f"tower={one!r}" for one in towers)
        rule = f"tower to be one of {', '.join(towers)}"
        raise HookError("Tower does not exist", rule, repr(name), f"Say which: {advice}.")
    return towers[name]


def grid_of(tower: HookedTransformer) -> PatchGrid:
    """The patches of a vision tower's picture."""
    cfg = tower.cfg
    assert cfg.image_size is not None and cfg.patch_size is not None
    return PatchGrid.over(*cfg.image_size, cfg.patch_size)


def place_of(model: Any, hook_name: str) -> Place:
    """Whose positions a hook's activations have."""
    if hook_name.endswith("hook_patch_embed"):
        return "patches"
    if hook_name.startswith("projector."):
        return "features"
    if hook_name in ("hook_image_embed", "hook_text_embed"):
        return "none"
    towers = towers_of(model)
    name = next((name for name in ("vision", "text") if name in towers and hook_name.startswith(f"{name}.")), None)
    return cast(Place, name or next(iter(towers)))


def head_axis(hook_name: str) -> int | None:
    """Which axis of an activation counts heads, from the front; None where none does."""
    if hook_name.endswith(("hook_pattern", "hook_attn_scores", "hook_mask")):
        return 1
    return 2 if position_axis(hook_name) == -3 else None


def n_heads_at(model: Any, hook_name: str) -> int | None:
    """How many heads a hook's activations have; None where they are not split."""
    if head_axis(hook_name) is None:
        return None
    tower = towers_of(model)[place_of(model, hook_name)]
    has_key_heads = hook_name.endswith(("hook_k", "hook_v", "hook_rot_k", "hook_k_input", "hook_v_input"))
    return tower.transformer.cfg.n_kv if has_key_heads else tower.transformer.cfg.n_heads

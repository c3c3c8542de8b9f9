"""What the decoder is given of the vision tower: the hidden states that the checkpoint's config selects."""

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.parts import FeatureSelection
from vlm_lens.model.transformer import HookedTransformer


def points_behind(tower: HookedTransformer, selection: FeatureSelection) -> list[HookPoint]:
    """The hook points that feed nothing: blocks behind the last selected state, and the post-norm."""
    last = max(selection.depths(tower.cfg.n_layers))
    modules = [*list(tower.blocks)[last:], tower.ln_final]
    return [point for module in modules for point in module.modules() if isinstance(point, HookPoint)]


def selected_features(
    tower: HookedTransformer,
    pixel_values: Float[Tensor, "image channel height width"],
    selection: FeatureSelection,
    behind: list[HookPoint],
) -> Float[Tensor, "image patch d_features"]:
    """The features that feed the projector.

    What lies behind them is run only where somebody stands at one of its hooks: it cannot change anything, and a
    tower that is cut there saves the time.
    """
    depths = selection.depths(tower.cfg.n_layers)
    states = {0: tower(pixel_values, stop_at_layer=0)}
    stream, depth = states[0], 0
    for stop in sorted(set(depths) - {0}):
        stream = states[stop] = tower(stream, start_at_layer=depth, stop_at_layer=stop)
        depth = stop
    if any(not point.is_idle for point in behind):
        tower(stream, start_at_layer=depth, return_type="logits")
    first = 1 if tower.cfg.has_class_token and not selection.keeps_class_token else 0
    features = [states[depth][:, first:] for depth in depths]
    return features[0] if len(features) == 1 else torch.cat(features, dim=-1)

"""From pixels to the vectors that the decoder is given: those that all share, and each variant's own."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.model.vision import selected_features
from vlm_lens.recompute.dispatch import Dispatch, Part
from vlm_lens.recompute.layers import Layers
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.rows import TowerRows
from vlm_lens.recompute.variant import NONE, Variant


def pictures_seen(
    planned: Planned, dispatch: Dispatch, pixels: Float[Tensor, "image channel height width"], max_rows: int
) -> Float[Tensor, "image patch d_model"]:
    """The vectors of the pictures that all variants share; a variant that has others holds its own `features`."""
    model, variants = planned.model, planned.in_parts
    with dispatch.shared():
        stream = model.vision(pixels, stop_at_layer=0)
    for variant in variants:
        _start(planned, dispatch, variant, pixels)
    dispatch.forget()
    if planned.sizes.n_depths > 1:  # whoever acts in the tower is run in full
        features = selected_features(model.vision, pixels, model.features, model.behind_features)
    else:
        layers = Layers(
            planned.towers["vision"], dispatch, lambda one: one.vision, lambda one: one.vision_edges, max_rows
        )
        features = layers.run(stream, None, variants, planned.sizes.depth)[:, planned.first_feature :]
    with dispatch.shared():
        vectors = cast(Tensor, model.projector(features))
    _project(planned, dispatch, variants, features)
    dispatch.forget()
    return vectors


def _start(planned: Planned, dispatch: Dispatch, variant: Variant, pixels: Tensor) -> None:
    """The rows of a variant that differ before the tower's first layer."""
    tower, everything = planned.model.vision, np.arange(planned.sizes.vision)
    variant.stream, variant.stream_rows = None, NONE
    rows = cast(TowerRows, variant.vision).started
    if not len(rows):
        return
    patches = everything[: len(everything) - planned.sizes.n_class_tokens]
    with dispatch.passing([Part(variant, patches, patches)]):
        own = tower.embed.placed(tower.hook_patch_embed(tower.embed(pixels)))
    own = own if tower.ln_pre is None else tower.ln_pre(own)
    with dispatch.passing([Part(variant, everything, everything)]):
        own = tower.hook_embed(own)
    variant.stream, variant.stream_rows = own[:, torch.from_numpy(rows).to(own.device)], rows


def _project(planned: Planned, dispatch: Dispatch, variants: Sequence[Variant], shared: Tensor) -> None:
    """Through the projector, the features of each variant that differ."""
    first = planned.first_feature
    places = np.arange(first, first + planned.sizes.features)
    for variant in variants:
        variant.features = None
        rows = variant.features_changed
        if not len(rows):
            continue
        features = variant.own_rows(shared, places, rows + first)
        with dispatch.passing([Part(variant, rows, rows)]):
            variant.features = planned.model.projector(features)

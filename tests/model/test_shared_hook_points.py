"""A model and its towers share hook points: a block of one takes away its own hooks and no other's."""

import pytest
import torch

from vlm_lens import HookedVLM
from vlm_lens.inputs import Inputs


def test_a_run_of_the_tower_inside_a_block_of_the_model_leaves_the_blocks_hooks(vlm: HookedVLM, inputs: Inputs) -> None:
    seen = []
    with torch.no_grad(), vlm.hooks([("vision.hook_embed", lambda value, hook: seen.append(hook.name))]):
        vlm.vision.run_with_cache(inputs["pixel_values"])
        vlm(inputs)
    assert len(seen) == 2


def test_a_run_of_the_model_inside_a_block_of_the_tower_leaves_the_blocks_hooks(vlm: HookedVLM, inputs: Inputs) -> None:
    seen = []
    with torch.no_grad(), vlm.vision.hooks([("hook_embed", lambda value, hook: seen.append(hook.name))]):
        vlm.run_with_cache(inputs)
        vlm(inputs)
    assert len(seen) == 2


def test_hooks_that_cache_from_now_on_save_under_the_names_of_the_model_asked(vlm: HookedVLM, inputs: Inputs) -> None:
    saved = vlm.vision.add_caching_hooks(names_filter=["hook_embed"])
    with torch.no_grad():
        vlm(inputs)
    vlm.vision.reset_hooks()
    assert list(saved) == ["hook_embed"]


@pytest.mark.parametrize("pos_slice", [slice(3, 6), slice(0, 4)])
def test_a_cached_slice_outlives_a_later_edit_in_place(vlm: HookedVLM, inputs: Inputs, pos_slice: slice) -> None:
    name = "blocks.0.hook_resid_post"
    with torch.no_grad():
        _, clean = vlm.run_with_cache(inputs, names_filter=name, pos_slice=pos_slice)
        with vlm.hooks([]):
            _, forward, _ = vlm.get_caching_hooks(name, pos_slice=pos_slice)
            saved = forward[0][1].args[0]
            vlm.run_with_hooks(inputs, fwd_hooks=[*forward, (name, lambda value, hook: value.zero_())])
    assert torch.equal(saved[name], clean[name])

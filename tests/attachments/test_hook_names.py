"""Hooks and layers together: layers are counted in each tower, and what meets nowhere is refused."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import ActivationPatch, HookedVLM, ZeroAblation
from vlm_lens.attachments.naming.hook_names import hook_names_of
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.model.hooked_root import names_fitting

STREAM = "blocks.{}.hook_resid_post"


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    """Two decoder layers under three vision layers."""
    found = tiny_vlm()
    assert (found.cfg.n_layers, found.vision.cfg.n_layers) == (2, 3)
    return found


@pytest.mark.parametrize(
    "layers, decoder, vision", [(-1, [1], [2]), ((0.5, 1.0), [1], [2]), (1, [1], [1]), ("all", [0, 1], [0, 1, 2])]
)
def test_layers_are_counted_in_each_tower(vlm: HookedVLM, layers: Any, decoder: list[int], vision: list[int]) -> None:
    both = [STREAM.format("*"), "vision." + STREAM.format("*")]
    expected = [*(STREAM.format(layer) for layer in decoder), *("vision." + STREAM.format(layer) for layer in vision)]
    assert Counter(hook_names_of(vlm, both, layers)) == Counter(expected)
    assert hook_names_of(vlm, both[0], layers) == expected[: len(decoder)]
    assert hook_names_of(vlm, both[1], layers) == expected[len(decoder) :]


def test_the_last_layer_is_the_towers_and_not_the_hooks_own(vlm: HookedVLM) -> None:
    for layers in (-1, (0.9, 1.0), [1], slice(1, None)):
        with pytest.raises(EmptySelectionError):
            hook_names_of(vlm, STREAM.format(0), layers)
    assert hook_names_of(vlm, STREAM.format(1), -1) == [STREAM.format(1)]
    assert hook_names_of(vlm, [STREAM.format(0), STREAM.format(1)], -1) == [STREAM.format(1)]


def test_a_hook_outside_its_layers_is_refused_and_no_silent_nothing(vlm: HookedVLM) -> None:
    inputs = tiny_inputs(vlm)
    nowhere = ZeroAblation("image", STREAM.format(1), layers=[0])
    with pytest.raises(EmptySelectionError, match=r"layers that these hooks are in \(1\), got layers=\[0\]"):
        vlm.run(inputs, nowhere)
    skipped = vlm.run(inputs, replace(nowhere, on_empty="skip")).logits
    assert torch.equal(skipped, vlm.run(inputs).logits)
    there = ZeroAblation("image", STREAM.format(1), layers=[1])
    assert torch.equal(vlm.run(inputs, there).logits, vlm.run(inputs, replace(there, layers="all")).logits)
    assert not torch.equal(vlm.run(inputs, there).logits, skipped)


def test_a_layer_that_one_of_two_towers_lacks_is_refused_or_left_out_there(vlm: HookedVLM) -> None:
    both = [STREAM.format("*"), "vision." + STREAM.format("*")]
    with pytest.raises(EmptySelectionError, match="of the decoder tower: expected layers from 0 to 1"):
        hook_names_of(vlm, both, 2)
    assert hook_names_of(vlm, both, 2, on_empty="skip") == ["vision." + STREAM.format(2)]
    with pytest.raises(HookError, match="a hook inside a layer"):
        hook_names_of(vlm, "projector.hook_out", 1)


def test_a_star_stays_within_one_part_of_a_name(vlm: HookedVLM) -> None:
    names = ["blocks.0.hook_z", "blocks.0.attn.hook_z", "vision.blocks.0.hook_z", "hook_z"]
    assert names_fitting("blocks.*.hook_z", names) == names[:1]
    assert names_fitting("*.blocks.*.hook_z", names) == names[2:3]
    assert hook_names_of(vlm, "blocks.*.attn.hook_z") == vlm.names_like("blocks.*.attn.hook_z")


def test_a_patch_says_the_activations_that_its_pattern_means(vlm: HookedVLM) -> None:
    inputs = tiny_inputs(vlm)
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.endswith("hook_resid_post"))
    held = {name: cache[name] for name in cache}

    def fingerprint(changed: str) -> str:
        return ActivationPatch({**held, changed: held[changed] + 1.0}, STREAM.format("*"), "image").fingerprint()

    plain = ActivationPatch(held, STREAM.format("*"), "image").fingerprint()
    assert fingerprint(STREAM.format(1)) != plain
    assert fingerprint("vision." + STREAM.format(1)) == plain

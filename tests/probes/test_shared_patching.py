"""A grid of patches, each computed beside the others where that is exact: every cell is a run of its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.model.tiny_vlms import padded_on_the_right, tiny_inputs, tiny_vlm
from tests.probes.held_to_a_loop import assert_near, grid_of, metric
from vlm_lens import (
    ActivationPatch,
    ActivationPatching,
    AttentionKnockout,
    HookedVLM,
    Inputs,
    LogitDifference,
    LogProbability,
)
from vlm_lens.probes.patching.patched_logits import MOST_TOGETHER

FILTER = ["blocks.*.hook_resid_pre", "blocks.*.attn.hook_z", "blocks.*.attn.hook_k"]


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


@pytest.fixture
def other(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm, seed=1)


def loop_of(vlm: HookedVLM, inputs: Any, patches: list[ActivationPatch], *writers: Any, **options: Any) -> list[Tensor]:
    return [vlm.run(inputs, *writers, patch, **options).logits for patch in patches]


CASES = [
    ("grouped heads", "none", 2),
    ("a key for each head", "on the left", 11),
    ("sliding window", "on the right", 2),
]


@pytest.mark.parametrize("family, pads, n_groups", CASES)
def test_every_cell_is_a_run_of_its_own(family: str, pads: str, n_groups: int) -> None:
    """More cells than run together; metrics of answers at each row's own last position; a function of all logits."""
    vlm = tiny_vlm(family)
    inputs: Any = tiny_inputs(vlm, is_padded=pads != "none")
    if pads == "on the right":
        inputs = vlm.as_inputs(padded_on_the_right(inputs))
    source = vlm.run({**inputs, "pixel_values": inputs["pixel_values"].flip(-1)}, names_filter=FILTER)
    groups = {str(number): [number, number + 1] for number in range(19 - n_groups, 19)}
    given = ActivationPatching(source, metric, groups, ["resid_pre", "z", "k"], shows_progress=False)
    names = [f"blocks.{layer}.{hook}" for hook in ("hook_resid_pre", "attn.hook_z", "attn.hook_k") for layer in (0, 1)]
    patches = [ActivationPatch(source, name, positions) for name in names for positions in groups.values()]
    assert len(patches) > MOST_TOGETHER or n_groups < 11
    logits = loop_of(vlm, inputs, patches)
    grid = grid_of(vlm, inputs, given)
    assert_near(grid.values.ravel(), [metric(one).item() for one in logits])
    last = [inputs.layout.positions("last", row)[0] for row in range(2)]
    expected = [[float(one[row, place, 400]) for row, place in enumerate(last)] for one in logits]
    of_answers = grid_of(vlm, inputs, replace(given, metric=LogitDifference(400)))
    assert_near(of_answers.values.reshape(-1, 2), expected)
    assert np.ptp(of_answers.values[..., 0]) > 1e-2 and np.ptp(of_answers.values[..., 1]) > 1e-2


def test_what_else_stands_at_the_model_acts_in_every_cell(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    hook, knockout = "blocks.0.hook_resid_pre", AttentionKnockout("last", "image", layers=[1])
    source = vlm.run(other, names_filter=hook)
    patch = ActivationPatching(source, metric, ["image", "last"], layers=0, shows_progress=False)
    with_writer = grid_of(vlm, inputs, patch)
    expected = [metric(vlm.run(inputs, knockout, ActivationPatch(source, hook, one)).logits) for one in patch.positions]
    with vlm.attach(knockout):
        around = grid_of(vlm, inputs, patch)
    assert_near(around.values[0], expected)
    half = ("blocks.1.hook_mlp_out", lambda value, hook: value / 2)
    with vlm.hooks(fwd_hooks=[half]):
        hooked = grid_of(vlm, inputs, patch)
        expected = [metric(vlm.run(inputs, ActivationPatch(source, hook, one)).logits) for one in patch.positions]
    assert_near(hooked.values[0], expected)
    assert abs(with_writer.values - around.values).min() > 1e-2 and abs(with_writer.values - hooked.values).min() > 1e-2


def test_options_of_the_run_hold_in_every_cell(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source, names = vlm.run(other, names_filter=FILTER), ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre"]
    patch = ActivationPatching(
        source, lambda logits: logits.shape[1] + logits[0, -1, 7], ["image"], shows_progress=False
    )
    patches = [ActivationPatch(source, name, "image") for name in names]
    found = vlm.run(inputs, patch, only_last=True)[patch]
    logits = loop_of(vlm, inputs, patches, only_last=True)
    assert_near(found.values.ravel(), [1 + float(one[0, -1, 7]) for one in logits])
    of_answers = replace(patch, metric=LogProbability(400))
    found = vlm.run(inputs, of_answers, only_last=True)[of_answers]
    assert_near(found.values.reshape(-1, 2), [one[:, -1].log_softmax(dim=-1)[:, 400].tolist() for one in logits])
    inputs = tiny_inputs(vlm, is_padded=False)  # a stream says nothing of padding
    stream = vlm(inputs, stop_at_layer=1)
    late = ActivationPatching(source, metric, [[3, 4, 5]], layers=1, shows_progress=False)
    from_layer = vlm.run(stream, late, start_at_layer=1)[late]
    whole = vlm.run(inputs, late)[late]
    assert_near(from_layer.values, whole.values)


def test_of_each_cell_only_what_the_patch_changes_is_computed() -> None:
    """Twelve patches of the last position cost about one forward pass, where a loop makes twelve."""
    vlm = HookedVLM.demo()
    grey = [np.full((192, 192, 3), shade, dtype=np.uint8) for shade in (0, 255)]
    inputs, other = (vlm.prepare(picture, "Is there a cat in this image?") for picture in grey)
    source = vlm.run(other, names_filter=["blocks.*.hook_resid_pre", "blocks.*.hook_mlp_out"])
    patch = ActivationPatching(source, LogitDifference(" Yes", " No"), ["last"], ["resid_pre", "mlp_out"])

    def work(*objects: Any) -> int:
        with FlopCounterMode(display=False) as counted:
            vlm.run(inputs, *objects)
        return int(counted.get_total_flops())

    assert work(replace(patch, shows_progress=False)) < 2.2 * work()  # the run that was asked for is one of these


@pytest.mark.parametrize("given", ["A cat.", ["A cat."], torch.tensor([[5, 9, 40]]), torch.tensor([5, 9, 40])])
def test_text_and_tokens_are_patched_as_a_mapping_is(given: Any) -> None:
    vlm = HookedVLM.demo()
    source = vlm.run(given, names_filter="blocks.3.hook_mlp_out")
    patch = ActivationPatching(source, LogitDifference(400), ["last"], "mlp_out", 3, shows_progress=False)
    zero = replace(patch, source={name: torch.zeros_like(value) for name, value in source.cache.items()})
    found, expected = grid_of(vlm, given, zero), vlm.run(given, ActivationPatch(zero.source, *source.cache, "last"))
    assert_near(found.values.ravel(), [float(expected.logits[0, -1, 400])])
    assert abs(found.values - found.corrupted).min() > 1e-3

"""Rollout is the product of the layers' mixed attention, as plain loops multiply it."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.probes.test_attention_flow import CLOSE, assert_sums_to_one, patterns_of
from vlm_lens import AttentionFlow, AttentionKnockout, AttentionRollout
from vlm_lens.errors import InputError


def product_of(patterns: list[np.ndarray], residual: float, heads: list[int] | None = None) -> list[np.ndarray]:
    """The running product `[query_pos key_pos]` after each layer, entry by entry, from the patterns of one row."""
    n = patterns[0].shape[-1]
    product, steps = np.eye(n), []
    for pattern in patterns:
        mixed = np.zeros((n, n))
        for query in range(n):
            row = np.mean([pattern[head, query] for head in heads or range(len(pattern))], axis=0)
            for key in range(n):
                mixed[query, key] = residual * (query == key) + (1 - residual) * row[key]
        product = mixed @ product
        steps.append(product)
    return steps


@pytest.mark.parametrize("residual, heads", [(0.5, None), (0.2, [0, 3])])
def test_rollout_of_the_prompt_equals_plain_loops(residual: float, heads: Any) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    rollout = AttentionRollout(["last", 20], heads=heads, residual=residual)
    reading = vlm.run(inputs, rollout)[rollout]
    patterns = patterns_of("grouped heads", inputs)
    for row in (0, 1):
        is_real = inputs.attention_mask[row].bool().numpy()
        of_row = [patterns["decoder", layer][row][:, is_real][:, :, is_real] for layer in (0, 1)]
        first = int(np.flatnonzero(is_real)[0])
        for layer, product in enumerate(product_of(of_row, residual, heads)):
            for query in (reading.rows == row).nonzero().flatten().tolist():
                expected = product[int(reading.positions[query]) - first]
                for number, group in enumerate(reading.groups):
                    keys = [key - first for key in inputs.layout.positions(group, row)]
                    assert abs(float(reading.shares[layer, query, 0, number]) - expected[keys].sum()) <= CLOSE
                image = [key - first for key in inputs.layout.positions("image", row)]
                np.testing.assert_allclose(reading.maps[layer, query, 0], expected[image], atol=CLOSE)
    assert_sums_to_one(reading)


def test_rollout_of_the_vision_tower_equals_plain_loops() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    rollout = AttentionRollout("cls", tower="vision")
    reading = vlm.run(inputs, rollout)[rollout]
    patterns = patterns_of("grouped heads", inputs)
    for row in (0, 1):
        steps = product_of([patterns["vision", layer][row] for layer in reading.layers], 0.5)
        for layer, product in enumerate(steps):
            np.testing.assert_allclose(reading.map(row=row).values[layer].flatten(), product[0, 1:], atol=CLOSE)
    assert_sums_to_one(reading)


def test_two_layers_by_hand() -> None:
    """With the residual alone every position keeps itself; without it, the product is of the patterns."""
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    alone = AttentionRollout("image", groups={"image": "image"}, residual=1.0)
    bare = AttentionRollout("last", residual=0.0, layers=[0])
    first = AttentionRollout("last", residual=0.0)
    run = vlm.run(inputs, alone, bare, first)
    assert bool((run[alone].shares[..., 0] == 1).all())
    torch.testing.assert_close(run[bare].shares[0], run[first].shares[0])
    assert not torch.equal(run[first].shares[0], run[first].shares[1])


def test_a_generation_is_rolled_out_over_its_prompt_and_again_from_the_start() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    rollout = AttentionRollout()
    plain = vlm.run(inputs, rollout)[rollout]
    for _ in range(2):
        reading = vlm.generate(inputs, rollout, max_new_tokens=3, eos_token_id=())[rollout]
        assert reading.steps.tolist() == [0, 0]
        assert torch.equal(reading.maps, plain.maps)


def test_a_knockout_is_in_force_before_it() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    rollout = AttentionRollout("last", {"image": "image"})
    run = vlm.run(inputs, AttentionKnockout("text", "image"), rollout)
    assert bool((run[rollout].shares[..., 0] == 0).all())


@pytest.mark.parametrize("options", [dict(keeps="heads"), dict(residual=1.5)])
def test_options_that_do_not_exist_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="AttentionRollout: expected"):
        AttentionRollout(**options)


def test_a_figure_says_that_a_layer_stands_for_all_up_to_it() -> None:
    vlm = tiny_vlm()
    rollout, flow = AttentionRollout("last"), AttentionFlow("last")
    run = vlm.run(tiny_inputs(vlm), rollout, flow)
    said = [run[one].plot_map().layout.sliders[0].currentvalue.prefix for one in (rollout, flow)]
    assert said == ["rollout up to layer ", "attention of layer "]

"""A vector added to some positions: as plain transformers with torch hooks gives it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE_TOKEN
from vlm_lens import HookedVLM, Inputs, Steer
from vlm_lens.errors import EmptySelectionError, HookError, PositionError

STREAM, Z = "blocks.0.hook_resid_post", "blocks.1.attn.hook_z"


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


def added(vectors: dict[tuple[int, int], Tensor]) -> Callable[[Tensor], Tensor]:
    """An edit that adds a vector at each (row, position) that exists."""

    def edit(value: Tensor) -> Tensor:
        for (row, position), vector in vectors.items():
            if position < value.shape[1]:
                value[row, position] += vector
        return value

    return edit


def image_positions(inputs: Inputs) -> list[tuple[int, int]]:
    return [(row, position) for row, position in (inputs.input_ids == IMAGE_TOKEN).nonzero().tolist()]


def close(ours: Tensor, expected: Tensor, inputs: Inputs) -> bool:
    is_real = inputs.attention_mask.bool()
    return bool((ours - expected)[is_real].abs().max() <= 1e-5 * expected[is_real].abs().max())


@pytest.mark.parametrize(
    "hook, place, width",
    [
        (STREAM, ("decoder", "layer", 0), 24),
        ("blocks.1.hook_mlp_out", ("decoder", "mlp_out", 1), 24),
        ("projector.hook_out", "projector", 24),
        ("vision.blocks.0.hook_resid_post", ("vision", "layer", 0), 16),
    ],
)
def test_a_vector_is_added_as_in_plain_transformers(
    vlm: HookedVLM, inputs: Inputs, hook: str, place: Any, width: int
) -> None:
    plain, vector = Plain(tiny_checkpoint()), torch.randn(width)
    positions = image_positions(inputs)
    if not hook.startswith("blocks"):
        n_patches = inputs.layout.image_span().grid.n_patches
        positions = [(row, patch + hook.startswith("vision")) for row in range(2) for patch in range(n_patches)]
    with torch.no_grad():
        expected = plain.logits(inputs, edits={place: added(dict.fromkeys(positions, -1.5 * vector))})
    steer = Steer(vector, hook, "image", scale=-1.5)
    assert close(vlm.run(inputs, steer).logits, expected, inputs)
    assert close(vlm.run(inputs, replace(steer, vector=vector.numpy())).logits, expected, inputs)


def test_heads_are_steered_one_by_one(vlm: HookedVLM, inputs: Inputs) -> None:
    plain, vectors = Plain(tiny_checkpoint()), torch.randn(4, 6)

    def expected(rows: dict[int, Tensor]) -> Tensor:
        flat = torch.zeros(24)
        for head, vector in rows.items():
            flat[head * 6 : head * 6 + 6] = vector
        last = dict.fromkeys([(0, inputs.shape[1] - 1), (1, inputs.shape[1] - 1)], flat)
        with torch.no_grad():
            return plain.logits(inputs, edits={("decoder", "z", 1): added(last)})

    def ours(vector: Tensor, heads: Any = None) -> Tensor:
        return vlm.run(inputs, Steer(vector, Z, "last", heads=heads)).logits

    assert close(ours(vectors), expected(dict(enumerate(vectors))), inputs)
    assert close(ours(vectors, heads=[1, 3]), expected({1: vectors[1], 3: vectors[3]}), inputs)
    assert close(ours(vectors[:2], heads=[1, 3]), expected({1: vectors[0], 3: vectors[1]}), inputs)
    assert close(ours(vectors[0], heads=[1, 3]), expected({1: vectors[0], 3: vectors[0]}), inputs)
    assert close(ours(vectors[0]), expected(dict.fromkeys(range(4), vectors[0])), inputs)
    by_position = torch.stack([vectors[:2]])
    assert close(ours(by_position, heads=[1, 3]), expected({1: vectors[0], 3: vectors[1]}), inputs)


def test_each_position_may_have_a_vector_of_its_own(vlm: HookedVLM, inputs: Inputs) -> None:
    plain, positions = Plain(tiny_checkpoint()), image_positions(inputs)
    n_patches = len(positions) // 2
    vectors = torch.randn(n_patches, 24)
    with torch.no_grad():
        edit = added({one: vectors[place % n_patches] for place, one in enumerate(positions)})
        expected = plain.logits(inputs, edits={("decoder", "layer", 0): edit})
    assert close(vlm.run(inputs, Steer(vectors, STREAM, "image")).logits, expected, inputs)


@pytest.mark.parametrize("positions", ["predicting", "generated", "image"])
def test_it_holds_at_every_step_of_a_cached_generation(vlm: HookedVLM, inputs: Inputs, positions: str) -> None:
    plain, vector, n_prompt = Plain(tiny_checkpoint()), torch.randn(24), inputs.shape[1]
    steer = Steer(vector, STREAM, positions, scale=2.0)
    run = vlm.generate(inputs, steer, max_new_tokens=4, eos_token_id=())
    first = {"predicting": n_prompt - 1, "generated": n_prompt}
    columns = [(row, column) for row in range(2) for column in range(first.get(positions, 99), n_prompt + 4)]
    with torch.no_grad():
        edits = {("decoder", "layer", 0): added(dict.fromkeys(columns or image_positions(inputs), 2.0 * vector))}
        expected = plain.step_logits(inputs, run.tokens, edits=edits)
        clean = plain.step_logits(inputs, run.tokens)
    assert (run.logits - expected).abs().max() <= 1e-4
    moved = (expected - clean).abs().amax(dim=(0, 2)) > 1e-3
    assert moved.tolist() == [positions != "generated", True, True, True]
    uncached = vlm.generate(inputs, steer, max_new_tokens=4, eos_token_id=(), use_cache=False)
    assert (uncached.logits - expected).abs().max() <= 1e-4


def test_vectors_by_position_go_to_generated_tokens_in_order(vlm: HookedVLM, inputs: Inputs) -> None:
    plain, vectors, n_prompt = Plain(tiny_checkpoint()), torch.randn(4, 24), inputs.shape[1]
    steer = Steer(vectors, STREAM, "predicting")
    run = vlm.generate(inputs, steer, max_new_tokens=4, eos_token_id=())
    with torch.no_grad():
        edit = added({(row, n_prompt - 1 + step): vectors[step] for row in range(2) for step in range(4)})
        expected = plain.step_logits(inputs, run.tokens, edits={("decoder", "layer", 0): edit})
    assert (run.logits - expected).abs().max() <= 1e-4
    with pytest.raises(PositionError, match="expected 4 positions in each row, as vectors, got 5 in row 0"):
        vlm.generate(inputs, steer, max_new_tokens=5)


def test_nothing_times_a_vector_changes_no_bit(vlm: HookedVLM, inputs: Inputs) -> None:
    plain = vlm.run(inputs).logits
    for hook in (STREAM, "projector.hook_out", "blocks.0.mlp.hook_post"):
        width = 32 if "mlp" in hook else 24
        assert torch.equal(vlm.run(inputs, Steer(torch.randn(width), hook, "image", scale=0.0)).logits, plain)


def test_there_and_back_is_the_run_itself(vlm: HookedVLM, inputs: Inputs) -> None:
    there = Steer(torch.randn(24), STREAM, "image")
    logits = vlm.run(inputs, there, replace(there, scale=-1.0)).logits
    torch.testing.assert_close(logits, vlm.run(inputs).logits, atol=1e-4, rtol=1e-4)


def test_what_cannot_be_added_is_refused_before_the_model_runs(vlm: HookedVLM, inputs: Inputs) -> None:
    good, mask = Steer(torch.ones(24), STREAM, "image"), "blocks.0.attn.hook_pattern"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (dict(vector=torch.full((24,), torch.nan)), HookError, "finite floats and a finite scale, got .*24 entries"),
        (dict(vector=torch.full((24,), torch.inf)), HookError, "finite floats"),
        (dict(vector=torch.ones(24, dtype=torch.long)), HookError, "finite floats and a finite scale, got torch.int64"),
        (dict(scale=float("inf")), HookError, "scale inf"),
        (dict(vector=torch.ones(20)), HookError, r"a vector of shape \[24\] at blocks.0.hook_resid_post.*got \[20\]"),
        (dict(vector=torch.ones(6, 4), hook=Z), HookError, r"\[4, 6\] or \[6\].*got \[6, 4\]"),
        (dict(vector=torch.ones(3, 6), hook=Z, heads=[0, 1]), HookError, r"\[2, 6\] or \[4, 6\] or \[6\]"),
        (
            dict(vector=torch.ones(3, 24)),
            PositionError,
            "expected 3 positions in each row, as vectors, got 16 in row 0",
        ),
        (dict(hook=mask), HookError, "AttentionKnockout"),
        (dict(positions="generated"), EmptySelectionError, "positions of"),
        (dict(heads=1), HookError, "a hook that tells heads apart"),
        (dict(hook=Z, vector=torch.ones(6), heads=4), HookError, "heads from 0 to 3, got 4"),
        (dict(layers=[7], hook="blocks.*.hook_resid_post"), EmptySelectionError, "layers from 0 to 1"),
    ]
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            vlm.run(inputs, replace(good, **change))


def test_one_vector_serves_several_layers(vlm: HookedVLM, inputs: Inputs) -> None:
    vector = torch.randn(24)
    both = Steer(vector, "blocks.*.hook_resid_post", "last").hook_names(vlm)
    assert both == [STREAM, "blocks.1.hook_resid_post"]
    one, other = (Steer(vector, "blocks.*.hook_resid_post", "last", layers=layer) for layer in (0, 1))
    together = vlm.run(inputs, Steer(vector, "blocks.*.hook_resid_post", "last")).logits
    assert torch.equal(vlm.run(inputs, one, other).logits, together)

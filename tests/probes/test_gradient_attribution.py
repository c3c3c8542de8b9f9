"""Gradient times input and integrated gradients against plain loops over `transformers` and autograd."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import FAMILIES, padded_on_the_right, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import new_clip, random_pixels
from vlm_lens import (
    AttentionKnockout,
    AttentionRelevance,
    Except,
    GradientTimesInput,
    HookedCLIP,
    HookedVLM,
    IntegratedGradients,
)
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError, VlmLensError
from vlm_lens.probes.answer import Contrast
from vlm_lens.probes.attribution.quadrature import quadrature

FOR, AGAINST = 40, 77


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1.0, float(np.abs(expected).max())))


def vectors_of(checkpoint: Any, inputs: Any) -> Tensor:
    """What the projector gives for each picture."""
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value.detach())
        return value

    Plain(checkpoint).logits(inputs, edits={"projector": keep})
    return found[0]


def answer_and_gradient(checkpoint: Any, inputs: Any, vectors: Tensor, last: int = -1) -> tuple[Tensor, Tensor]:
    leaf = vectors.clone().requires_grad_()
    logits = Plain(checkpoint).logits(inputs, edits={"projector": lambda value: leaf})[:, last]
    answers = logits[:, FOR] - logits[:, AGAINST]
    (gradient,) = torch.autograd.grad(answers.sum(), leaf)
    return answers.detach(), gradient


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_times_input_is_autograds(family: str) -> None:
    vlm, checkpoint = tiny_vlm(family), tiny_checkpoint(family)
    inputs = tiny_inputs(vlm)
    probe = GradientTimesInput(FOR, AGAINST)
    found = vlm.run(inputs, probe)[probe]
    vectors = vectors_of(checkpoint, inputs)
    answers, gradient = answer_and_gradient(checkpoint, inputs, vectors)
    close(found.answer, answers)
    close(found.signed, (vectors * gradient).sum(dim=-1))
    close(found.absolute, (vectors * gradient).abs().sum(dim=-1))
    close(found.map(row=1).ravel(), (vectors * gradient).sum(dim=-1)[1])
    assert all(parameter.grad is None for parameter in vlm.parameters())


@pytest.mark.parametrize("rule", ["left", "right", "gauss", "trapezoid", "midpoint"])
def test_integrated_gradients_are_a_plain_loops(rule: Any) -> None:
    vlm, checkpoint = tiny_vlm(), tiny_checkpoint()
    inputs = tiny_inputs(vlm)
    vectors = vectors_of(checkpoint, inputs)
    baseline = torch.sin(torch.arange(vectors.shape[-1]).float())
    probe = IntegratedGradients(FOR, AGAINST, baseline=baseline, n_steps=4, rule=rule)
    found = vlm.run(inputs, probe)[probe]
    points = {"left": [0, 0.25, 0.5, 0.75], "right": [0.25, 0.5, 0.75, 1]}.get(rule)
    nodes, weights = quadrature(rule, 4)
    assert points is None or (nodes == points).all() and (weights == 0.25).all()
    total = torch.zeros_like(vectors)
    for node, weight in zip(nodes, weights, strict=True):
        total += weight * answer_and_gradient(checkpoint, inputs, baseline + node * (vectors - baseline))[1]
    attributed = total * (vectors - baseline)
    close(found.signed, attributed.sum(dim=-1))
    close(found.absolute, attributed.abs().sum(dim=-1))
    ends = [answer_and_gradient(checkpoint, inputs, end)[0] for end in (vectors, baseline.expand_as(vectors))]
    assert found.completeness is not None and found.error is not None
    close(found.completeness.answer, ends[0])
    close(found.completeness.at_baseline, ends[1])
    close(found.error, (attributed.sum(dim=(1, 2)) - ends[0] + ends[1]).abs())


@pytest.mark.parametrize("hook", ["projector.hook_out", "hook_embed"])
@pytest.mark.parametrize("memory", [1, 2**30])
def test_batches_of_any_size_give_the_same_as_one_by_one(hook: str, memory: int) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    batched = IntegratedGradients(FOR, n_steps=6, hook=hook, memory=memory)
    one_by_one = IntegratedGradients(FOR, n_steps=6, hook=hook)
    found = vlm.run(inputs, batched)[batched]
    with vlm.hooks([("blocks.0.hook_resid_pre", lambda value, hook: None)]):  # somebody looks: no batches of ours
        expected = vlm.run(inputs, one_by_one)[one_by_one]
    close(found.signed, expected.signed)
    assert found.n_rows == {1: 1, 2**30: 5}[memory]  # one is run alone, to be measured
    assert expected.n_rows == 1


def test_a_batch_keeps_no_more_than_the_memory_allows() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    weights = {one.untyped_storage().data_ptr() for one in vlm.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    stream = vlm(inputs, stop_at_layer=0).detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        logits = vlm(stream, start_at_layer=0, attention_mask=inputs.attention_mask, only_last=True)
    one = sum(kept.values())
    assert logits.requires_grad
    for rows in (2, 3):
        probe = IntegratedGradients(FOR, n_steps=9, memory=int(one * (rows + 0.5)))
        assert vlm.run(inputs, probe)[probe].n_rows == rows


def test_completeness_grows_with_the_steps() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    errors = []
    for n_steps in (2, 8, 32):
        probe = IntegratedGradients(FOR, AGAINST, n_steps=n_steps)
        found = vlm.run(inputs, probe)[probe]
        assert found.error is not None
        errors.append(found.error.max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3
    assert "completeness error" in repr(found)


@pytest.mark.parametrize("rule", ["left", "right", "gauss", "midpoint"])
def test_one_step_is_exact_where_the_answer_is_linear(rule: Any) -> None:
    vlm = tiny_vlm()
    probe = IntegratedGradients(FOR, hook="unembed.hook_in", positions="last", baseline="zero", n_steps=1, rule=rule)
    found = vlm.run(tiny_inputs(vlm), probe)[probe]
    assert found.error is not None and found.error.max() < 1e-5


def test_a_preceding_knockout_takes_everything_away() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    knockout = AttentionKnockout(Except("all", but="image"), "image")
    for probe in (GradientTimesInput(FOR), IntegratedGradients(FOR, n_steps=2)):
        assert vlm.run(inputs, knockout, probe)[probe].absolute.max() == 0
        assert vlm.run(inputs, probe, knockout)[probe].absolute.max() > 0  # it comes after: not in force
        with vlm.attach(knockout):
            assert vlm.run(inputs, probe)[probe].absolute.max() == 0


def test_padding_on_either_side_makes_no_difference() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    probe = IntegratedGradients({0: FOR, 1: AGAINST}, n_steps=3)
    left, right = (vlm.run(one, probe)[probe] for one in (inputs, padded_on_the_right(inputs)))
    alone = IntegratedGradients(AGAINST, n_steps=3)
    single = vlm.run(inputs.row(1), alone)[alone]
    close(left.signed, right.signed)
    close(left.signed[1:], single.signed)


def test_only_chosen_positions_count() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    region = inputs.layout.patches(rows=0, row=1)
    for probe in (GradientTimesInput(FOR, positions=region), IntegratedGradients(FOR, positions=region, n_steps=3)):
        found = vlm.run(inputs, probe)[probe]
        assert not found.absolute[0].any()
        np.testing.assert_array_equal(found.map("absolute", row=1) > 0, region.patches)


def test_the_best_patches_are_a_region() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    for hook in ("projector.hook_out", "hook_embed", "vision.hook_embed"):
        probe = GradientTimesInput(FOR, hook=hook)
        found = vlm.run(inputs, probe)[probe]
        best = found.top(3, row=1)
        assert best.row == 1 and set(best) == set(np.argsort(-found.map("absolute", row=1).ravel())[:3])
        vlm.run(inputs, AttentionKnockout("last", best))
        frame = found.to_dataframe()
        patches = frame[(frame.row == 1) & frame.patch_row.notna()]
        assert patches.position.tolist() == list(inputs.layout.image_span(0, 1).patch_positions)


def test_clip_explains_a_similarity() -> None:
    checkpoint = new_clip()
    clip = HookedCLIP.from_hf(checkpoint)
    inputs = {"input_ids": torch.arange(300, 312).view(2, 6), "pixel_values": random_pixels(3)}
    probe = GradientTimesInput(1, 0, hook="vision.hook_embed", positions="all")
    found = clip.run(inputs, probe)[probe]
    leaves: list[Tensor] = []

    def enter(module: Any, args: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    handle = checkpoint.vision_model.pre_layrnorm.register_forward_hook(enter)
    logits = checkpoint(**inputs).logits_per_image
    handle.remove()
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaves)
    close(found.signed, (leaves[0] * gradient).sum(dim=-1).detach())
    line = IntegratedGradients(1, hook="vision.hook_embed", positions="patches", n_steps=20)
    error = clip.run(inputs, line)[line].error
    assert error is not None and error.max() < 1e-2


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: GradientTimesInput(FOR, hook="projector.out"), HookError, "Did you mean 'projector.hook_out'"),
        (lambda: GradientTimesInput(FOR, hook="blocks.0.attn.hook_pattern"), HookError, "a vector for each position"),
        (lambda: GradientTimesInput(FOR, positions=[]), EmptySelectionError, "positions of"),
        (lambda: GradientTimesInput(FOR, at="image"), PositionError, "one position in each row"),
        (lambda: GradientTimesInput(10**6), InputError, "an id from 0"),
        (lambda: IntegratedGradients(FOR, n_steps=0), InputError, "at least 1"),
        (lambda: IntegratedGradients(FOR, n_steps=1, rule="trapezoid"), InputError, "at least 2"),
        (lambda: IntegratedGradients(FOR, baseline="black"), InputError, "'mean', 'zero', a tensor"),
        (lambda: IntegratedGradients(FOR, baseline=torch.zeros(7)), InputError, "Baseline of"),
        (lambda: IntegratedGradients(FOR, baseline=torch.full((24,), torch.nan)), InputError, "finite"),
        (lambda: IntegratedGradients(FOR, baseline={"hook_embed": torch.zeros(24)}), InputError, "a mean at projector"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Any], error: type[VlmLensError], message: str) -> None:
    vlm = tiny_vlm()
    ran = []
    with vlm.hooks([("hook_embed", lambda value, hook: ran.append(1))]), pytest.raises(error, match=message):
        vlm.run(tiny_inputs(vlm), make())
    assert not ran


def test_a_hook_that_feeds_nothing_is_refused() -> None:
    vlm = tiny_vlm()
    with pytest.raises(HookError, match="a hook that the answer depends on"):
        vlm.run(tiny_inputs(vlm), GradientTimesInput(FOR, hook="vision.blocks.2.hook_resid_post"))


def test_gradients_are_kept_where_the_caller_keeps_none() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    probe = IntegratedGradients(FOR, n_steps=2)
    expected = vlm.run(inputs, probe)[probe].signed
    with torch.no_grad():
        close(vlm.run(inputs, probe)[probe].signed, expected)
    with torch.inference_mode():
        close(vlm.run(inputs, probe)[probe].signed, expected)


def test_a_text_is_explained_where_it_has_vectors() -> None:
    demo = HookedVLM.demo()
    for probe in (
        GradientTimesInput(" Yes"),
        IntegratedGradients(" Yes"),
        GradientTimesInput(hook="vision.hook_embed"),
    ):
        with pytest.raises(EmptySelectionError, match="got text alone. For the tokens of a text: hook='hook_embed'"):
            demo.run("Is it a cat?", probe)
        skipped = replace(probe, on_empty="skip")
        assert demo.run("Is it a cat?", skipped)[skipped] is None
    line = IntegratedGradients(" Yes", hook="hook_embed", positions="text")
    found = demo.run("Is it a cat?", line)[line]
    assert found.error is not None and found.error.max() < 1e-3
    assert len(found.to_dataframe()) == found.signed.size and f"{found.signed.shape[1]} positions" in repr(found)
    relevance = AttentionRelevance(" Yes")
    assert f": {found.signed.shape[1]} positions;" in repr(demo.run("Is it a cat?", relevance)[relevance])


@pytest.mark.parametrize("kind", [torch.tensor, np.array], ids=["tensor", "array"])
def test_a_baseline_is_the_one_that_was_given(kind: Callable[[Any], Any]) -> None:
    vlm = tiny_vlm()
    inputs, given = tiny_inputs(vlm), kind([0.5] * 24)
    probe = IntegratedGradients(FOR, baseline=given, n_steps=2)
    before = vlm.run(inputs, probe)[probe].signed
    given[:] = 0.0
    assert np.array_equal(vlm.run(inputs, probe)[probe].signed, before)


def test_results_are_drawn_over_the_picture() -> None:
    demo = HookedVLM.demo()
    inputs = demo.prepare(np.full((192, 192, 3), 90, dtype=np.uint8), "Is there a cat in this image?")
    probe = GradientTimesInput(" Yes", " No")
    found = demo.run(inputs, probe)[probe]
    assert len(found.images) == 1 and "' Yes' - ' No'" in repr(found)
    assert found.plot().layout.images and found.plot("absolute", region=found.top(4)).layout.shapes
    text = GradientTimesInput(" Yes", hook="hook_embed", positions="all")
    assert demo.run("Is it a cat?", text)[text].plot().data


def test_a_contrast_is_explained_as_it_is_a_token_that_no_model_says_too() -> None:
    vlm = HookedVLM.demo()
    inputs = vlm.prepare(np.full((96, 96, 3), 90, np.uint8), "Is there a cat in this image?")
    begins, yes = vlm.tokenizer.bos_token_id, vlm.to_single_token(" Yes")
    named, same, of_start = GradientTimesInput(" Yes"), GradientTimesInput(Contrast((yes,))), Contrast((begins,))
    explains_start = GradientTimesInput(of_start)
    run = vlm.run(inputs, named, same, explains_start)
    np.testing.assert_array_equal(run[same].signed, run[named].signed)
    assert run[explains_start].answer[0] == pytest.approx(float(run.logits[0, -1, begins]), rel=1e-5)
    assert not np.allclose(run[explains_start].signed, run[named].signed)
    with pytest.raises(InputError, match="begins or fills a text"):
        vlm.run(inputs, GradientTimesInput(begins))

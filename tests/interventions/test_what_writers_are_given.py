"""Vectors, runs and layouts are taken in any form that can be meant; all else is refused before the model runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.inputs.tiny_processors import picture
from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.tiny_models import new_clip, random_pixels
from vlm_lens import (
    ActivationPatch,
    AttentionKnockout,
    HookedCLIP,
    HookedVLM,
    Inputs,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    Steer,
    TopKContext,
    ValueAblation,
    Writer,
    ZeroAblation,
)
from vlm_lens.errors import ActivationError, HookError, VlmLensError

STREAM, PROJECTED = "blocks.0.hook_resid_post", "projector.hook_out"


@cache
def model() -> HookedVLM:
    return tiny_vlm()


@cache
def inputs() -> Inputs:
    """24 positions; the picture of row 0 stands at 2 to 17, that of row 1, padded by 3, at 4 to 19."""
    return tiny_inputs(model())


def logits(*writers: Writer) -> Tensor:
    """Of the answer to the inputs."""
    return model().run(inputs(), *writers).logits


def test_numbers_may_come_as_a_list_an_array_or_a_tensor() -> None:
    vector = torch.randn(24)
    build: list[Callable[[Any], Writer]] = [
        lambda given: MeanAblation("image", given),
        lambda given: ValueAblation("image", given),
        lambda given: MeanAblation("image", {PROJECTED: given}),
        lambda given: Steer(given, STREAM, "last"),
        lambda given: ResampleAblation("image", [given, given] if isinstance(given, list) else given.reshape(1, 24)),
    ]
    for writer in build:
        expected = logits(writer(vector))
        assert not torch.equal(expected, logits())
        assert torch.equal(logits(writer(vector.tolist())), expected)
        assert torch.equal(logits(writer(vector.numpy())), expected)
        assert torch.equal(logits(writer(vector.numpy()[::-1][::-1])), expected)
    rows = torch.randn(16, 24)
    for stacked in (list(rows), [row.numpy() for row in rows], rows.tolist()):
        assert torch.equal(logits(MeanAblation("image", stacked)), logits(MeanAblation("image", rows)))


@pytest.mark.parametrize("as_given", [torch.clone, Tensor.numpy], ids=["tensor", "array"])
def test_a_value_stays_itself_whatever_becomes_of_what_it_was_given(as_given: Callable[[Tensor], Any]) -> None:
    build: list[Callable[[Any], Writer]] = [
        lambda given: MeanAblation("image", given),
        lambda given: ValueAblation("image", given),
        lambda given: Steer(given, STREAM, "last"),
    ]
    for writer in build:
        given = as_given(torch.ones(24))
        one = writer(given)
        before, name = logits(one), one.fingerprint()
        given *= 0
        assert torch.equal(logits(one), before) and one.fingerprint() == name


def test_gradients_reach_the_vector_that_was_given() -> None:
    vector = torch.zeros(24, requires_grad=True)
    with model().attach(Steer(vector, STREAM, "last")):
        (gradient,) = torch.autograd.grad(model()(inputs())[:, -1].square().sum(), vector)
    assert bool(gradient.abs().max() > 0)


def test_draws_from_a_run_are_draws_from_what_it_kept() -> None:
    others = tiny_inputs(model(), seed=1)
    run = model().run(others, names_filter=[PROJECTED, STREAM])
    assert run.cache is not None
    for options in ({}, {"same_position": True}):
        from_run = ResampleAblation("image", run, **options)
        assert torch.equal(logits(from_run), logits(ResampleAblation("image", run.cache, **options)))
    again = ResampleAblation("image", model().run(others, names_filter=[PROJECTED, STREAM]))
    assert again.fingerprint() == ResampleAblation("image", run).fingerprint()
    assert again.fingerprint() != replace(again, seed=1).fingerprint()


def test_draws_from_a_run_leave_its_padding_out() -> None:
    others = tiny_inputs(model(), seed=1)
    run = model().run(others, names_filter=STREAM)
    assert run.cache is not None and not bool(others.attention_mask.all())
    real = run.cache[STREAM][others.attention_mask.bool()]
    assert torch.equal(logits(ResampleAblation("image", run, STREAM)), logits(ResampleAblation("image", real, STREAM)))
    assert not torch.equal(
        logits(ResampleAblation("image", run, STREAM)), logits(ResampleAblation("image", run.cache, STREAM))
    )


def test_a_layout_may_come_as_the_inputs_that_have_it() -> None:
    others = tiny_inputs(model(), seed=1)
    source = model().run(others, names_filter=STREAM)
    plain = logits(ActivationPatch(source, STREAM, "last"))
    for layout in (others, others.layout, source):
        assert torch.equal(logits(ActivationPatch(source.cache, STREAM, "last", source_layout=layout)), plain)


@cache
def kept() -> Any:
    return model().run(tiny_inputs(model(), seed=1), names_filter=STREAM)


REFUSED: dict[str, tuple[Callable[[], Writer], type[VlmLensError], str]] = {
    "no mean": (lambda: MeanAblation("image", None), HookError, "mean of MeanAblation: expected a tensor, .*NoneType"),
    "a text": (lambda: MeanAblation("image", "mean.safetensors"), HookError, "expected a tensor, .*, got str"),
    "pictures for a mean": (lambda: MeanAblation("image", [picture()]), HookError, "got a list of Image|list of Image"),
    "a ragged list": (lambda: ValueAblation("image", [[1.0], [1.0, 2.0]]), HookError, "got list of list"),
    "an array of objects": (lambda: ValueAblation("image", np.array([None])), HookError, "ndarray of object"),
    "no number": (lambda: ValueAblation("image", True), HookError, "got bool"),
    "no vector of a hook": (
        lambda: MeanAblation("image", {PROJECTED: None}), HookError, "at projector.hook_out.*NoneType",
    ),
    "pictures to draw from": (
        lambda: ResampleAblation("image", [np.asarray(picture()), np.asarray(picture())[:3]]), HookError,
        "Other pictures are run first: source=vlm.run",
    ),
    "a run without activations": (
        lambda: ResampleAblation("image", model().run(inputs())), ActivationError, "kept no activations",
    ),
    "a run of another hook": (lambda: ResampleAblation("image", kept()), ActivationError, "without projector.hook_out"),
    "a mean to steer by": (lambda: Steer({STREAM: torch.ones(24)}, STREAM, "last"), HookError, "that of one hook"),
    "a layer for a hook": (
        lambda: Steer(torch.ones(24), 1, "last"), HookError, "the name of a hook.* got 1. Each is a string",
    ),
    "no hook": (lambda: ZeroAblation("image", []), HookError, r"the name of a hook.* got \[\]"),
    "a function for a hook": (lambda: ZeroAblation("image", len), HookError, "the name of a hook"),
    "inputs for a run": (
        lambda: ActivationPatch(inputs(), STREAM, "last"), HookError, "Run it first: source = vlm.run",
    ),
    "a mapping for a run": (
        lambda: ActivationPatch(dict(inputs()), STREAM, "last"), HookError, "a run with names_filter.*got dict",
    ),
    "no layout": (
        lambda: ActivationPatch(kept().cache, STREAM, "last", source_layout="image"), HookError,
        "source_layout: expected a layout, such as inputs.layout, got str",
    ),
    "heads beyond": (lambda: ZeroAblation("image", "blocks.0.attn.hook_z", heads=slice(1, 9)), HookError, "-4 to 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_vectors_is_refused_before_the_model_runs(case: str) -> None:
    build, error, message = REFUSED[case]
    fired: list[str] = []
    with pytest.raises(error, match=message):
        writer = build()
        with model().hooks(fwd_hooks=[("hook_embed", lambda activation, hook: fired.append(hook.name))]):
            model().run(inputs(), writer)
    assert not fired


def test_what_follows_positions_and_value_is_said_by_name() -> None:
    vector = torch.rand(24)
    by_place: dict[type[Writer], list[Any]] = {
        ActivationPatch: [{STREAM: vector}, STREAM, "image"],
        AttentionKnockout: ["last", "image", [0]],
        MeanAblation: ["image", vector, STREAM],
        NoiseAblation: ["image", STREAM],
        ResampleAblation: ["image", vector, STREAM],
        Steer: [vector, STREAM, "image"],
        TopKContext: [0.5, torch.rand(2, 16)],
        ValueAblation: ["image", vector, STREAM],
        ZeroAblation: ["image", STREAM],
    }
    for kind, given in by_place.items():
        kind(*given)
        with pytest.raises(TypeError, match="positional argument"):
            kind(*given, "all")


def test_a_clip_is_told_which_tower_and_hook_to_name() -> None:
    clip, pixels = HookedCLIP.from_hf(new_clip()), random_pixels(1)
    with pytest.raises(HookError, match="got 'decoder'. Say which: tower='vision' or tower='text'"):
        clip.vision(pixels)
        AttentionKnockout("cls", "patches").hook_names(clip)
    for writer in (ZeroAblation("patches"), MeanAblation("patches", 0.0), NoiseAblation("patches")):
        with pytest.raises(HookError, match="HookedCLIP, without projector. Name one: hook='vision.blocks.0"):
            writer.hook_names(clip)


def test_a_scale_is_not_set_to_zero() -> None:
    with pytest.raises(HookError, match="a hook that nothing is divided by.*Ablate hook_normalized"):
        logits(ZeroAblation("last", "blocks.0.ln1.hook_scale"))

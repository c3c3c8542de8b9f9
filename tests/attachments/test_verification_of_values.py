"""`run.verify()` works out what belongs at positions apart from the code that writes it, and says where it does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import (
    ActivationPatch,
    AttentionKnockout,
    Except,
    HookedVLM,
    Inputs,
    MeanAblation,
    NoiseAblation,
    Steer,
    TopKContext,
    ValueAblation,
    ZeroAblation,
)
from vlm_lens.attachments import EdgeBlocker, Here, PositionWriter
from vlm_lens.attachments.verification import Finding, Verification
from vlm_lens.errors import VerificationError
from vlm_lens.interventions.base_ablation import VectorAblation

RESID = "blocks.0.hook_resid_post"
Z = "blocks.*.attn.hook_z"


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


def written(verification: Verification, one: Any) -> Finding:
    """What was found about the values that a writer left."""
    (found,) = [each for each in verification.of(one) if "positions hold what it says" in each.check]
    return found


def vectors(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def source_of(vlm: HookedVLM, *hooks: str) -> Any:
    """A run of the same prompts on other pictures."""
    inputs = tiny_inputs(vlm)
    other = inputs["pixel_values"].flip(0) * 0.5
    return vlm.run({**inputs, "pixel_values": other}, names_filter=list(hooks))


def patch(hook: str, positions: Any, **options: Any) -> Callable[[HookedVLM, Inputs], Any]:
    def made(vlm: HookedVLM, inputs: Inputs) -> Any:
        selector = positions(inputs.layout) if callable(positions) else positions
        return ActivationPatch(source_of(vlm, hook), hook, selector, **options)

    return made


WRITERS: dict[str, Callable[[HookedVLM, Inputs], Any]] = {
    "zeros": lambda vlm, inputs: ZeroAblation("predicting", Z, heads=[1, 3]),
    "zeros in a pattern": lambda vlm, inputs: ZeroAblation("last", "blocks.*.attn.hook_pattern", heads=2),
    "a number": lambda vlm, inputs: ValueAblation("image", 0.25, "blocks.*.hook_mlp_out"),
    "one vector": lambda vlm, inputs: MeanAblation("image", vectors(vlm.cfg.d_model)),
    "a vector for each head": lambda vlm, inputs: MeanAblation("all", vectors(4, vlm.cfg.d_head), Z, heads=[0, 2]),
    "a vector for each patch": lambda vlm, inputs: MeanAblation("image", vectors(16, vlm.cfg.d_model), RESID),
    "a vector for each position": lambda vlm, inputs: ValueAblation("all", vectors(40, vlm.cfg.d_model), RESID),
    "a vector for each patch in the tower": lambda vlm, inputs: MeanAblation(
        "patches", vectors(16, vlm.vision.cfg.d_model), "vision.blocks.0.hook_resid_pre"
    ),
    "a whole activation": lambda vlm, inputs: ValueAblation("image", vectors(2, 24, vlm.cfg.d_model), RESID),
    "by hook": lambda vlm, inputs: ValueAblation("last", {RESID: vectors(vlm.cfg.d_model)}, RESID),
    "steering": lambda vlm, inputs: Steer(vectors(vlm.cfg.d_model), RESID, "predicting", scale=-2.5),
    "steering by position": lambda vlm, inputs: Steer(vectors(16, vlm.cfg.d_model), RESID, "image"),
    "steering every head": lambda vlm, inputs: Steer(vectors(vlm.cfg.d_head), Z, "predicting", heads=[0, 3]),
    "steering some heads": lambda vlm, inputs: Steer(vectors(2, vlm.cfg.d_head), Z, "predicting", heads=[3, 1]),
    "steering all heads": lambda vlm, inputs: Steer(vectors(4, vlm.cfg.d_head), Z, "predicting", heads=[2]),
    "a patch": patch(RESID, "image"),
    "a patch from another row": patch(RESID, {1: "image"}, source_row=0),
    "a patch of heads": patch("blocks.0.attn.hook_z", "image", heads=[1]),
    "a patch of a region": patch(RESID, lambda layout: [layout.patches(rows=0, row=1), "last"]),
    "a patch of the rest": patch(RESID, lambda layout: Except("image", but=layout.patches(rows=0))),
    "a patch elsewhere": patch(RESID, [-1, -2], source_positions=[-4, -3]),
    "a patch of a pattern": patch("blocks.1.attn.hook_pattern", "last"),
    "a patch of scores": patch("blocks.1.attn.hook_attn_scores", "last", heads=[0, 2]),
    "a patch of pictures": patch("vision.blocks.1.hook_resid_pre", lambda layout: layout.patches(rows=1, row=1)),
    "a patch of the projector": patch("projector.hook_out", "image"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_values_are_worked_out_apart_from_the_code_that_writes_them(vlm: HookedVLM, inputs: Inputs, kind: str) -> None:
    writer = WRITERS[kind](vlm, inputs)
    found = written(vlm.generate(inputs, writer, max_new_tokens=2, eos_token_id=()).verify(), writer)
    assert found.is_independent and "worked out apart by its `expected`" in found.check
    assert found.n_covered > 0 and found.deviation == found.tolerance == 0.0


@pytest.mark.parametrize(
    "kind", ["a number", "one vector", "a vector for each head", "a vector for each patch", "a whole activation"]
)
def test_an_ablation_that_writes_three_times_its_mean_is_found(
    vlm: HookedVLM, inputs: Inputs, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = VectorAblation.value
    monkeypatch.setattr(VectorAblation, "value", lambda self, activation, here: 3 * honest(self, activation, here))
    with pytest.raises(VerificationError, match="to hold what it says, to the bit, got .* values that differ"):
        vlm.run(inputs, WRITERS[kind](vlm, inputs)).verify()


@pytest.mark.parametrize("change", [lambda value: value.roll(1, dims=1), lambda value: 2 * value])
@pytest.mark.parametrize("kind", ["a patch", "a patch of pictures", "a patch of a region", "a patch of the projector"])
def test_a_patch_that_writes_something_else_than_its_source_is_found(
    vlm: HookedVLM, inputs: Inputs, kind: str, change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ActivationPatch.value
    monkeypatch.setattr(ActivationPatch, "value", lambda self, before, here: change(honest(self, before, here)))
    with pytest.raises(VerificationError, match="ActivationPatch.* to hold what it says"):
        vlm.run(inputs, WRITERS[kind](vlm, inputs)).verify()


def test_a_vector_that_is_added_to_the_wrong_head_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Steer._over_heads
    monkeypatch.setattr(Steer, "_over_heads", lambda self, vector, shape: honest(self, vector, shape).roll(1, dims=-2))
    with pytest.raises(VerificationError, match="Steer.* to hold what it says"):
        vlm.run(inputs, WRITERS["steering some heads"](vlm, inputs)).verify()


def context(vlm: HookedVLM, inputs: Inputs, **options: Any) -> TopKContext:
    return TopKContext(0.25, vectors(2, vlm.cfg.n_layers, 16), **options)


@pytest.mark.parametrize("order, is_apart", [("top", True), ("bottom", True), ("random", False)])
def test_the_tokens_of_a_context_are_ranked_again(vlm: HookedVLM, inputs: Inputs, order: str, is_apart: bool) -> None:
    one = context(vlm, inputs, order=order)
    found = [each for each in vlm.run(inputs, one).verify().of(one) if each.unit == "edges"]
    assert [each.is_independent for each in found] == [is_apart, is_apart]
    assert ("by its own `blocked`" in found[0].check) is not is_apart


@pytest.mark.parametrize(
    "is_wrong",
    [lambda layer, n: layer == 1, lambda layer, n: n == 25],
    ids=["skips a layer", "forgets a step"],
)
def test_a_context_that_forgets_a_layer_or_a_step_is_found(
    vlm: HookedVLM, inputs: Inputs, is_wrong: Callable[[int, int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = TopKContext.blocked

    def forgetful(self: Any, layer: int, sequences: Any, queries: range) -> Tensor:
        edges = honest(self, layer, sequences, queries)
        return torch.zeros_like(edges) if is_wrong(layer, sequences.n_positions) else edges

    monkeypatch.setattr(TopKContext, "blocked", forgetful)
    run = vlm.generate(inputs, context(vlm, inputs), max_new_tokens=3, eos_token_id=())
    with pytest.raises(VerificationError, match="TopKContext.* blocked, got open"):
        run.verify()


def test_a_context_that_keeps_other_tokens_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_lens.interventions import top_k_context

    honest = top_k_context.kept_tokens
    monkeypatch.setattr(top_k_context, "kept_tokens", lambda *given: honest(*given).roll(1, dims=-1))
    with pytest.raises(VerificationError, match="TopKContext"):
        vlm.run(inputs, context(vlm, inputs)).verify()


@dataclass(frozen=True, eq=False)
class Halved(PositionWriter):
    """Halves some positions' activations; says nothing of what it expects."""

    positions: Any
    hook: Any = RESID
    overwrites = False

    def value(self, activation: Tensor, here: Here) -> Tensor:
        return activation / 2


@dataclass(frozen=True, eq=False)
class SaysSo(Halved):
    """The same, and says what it expects."""

    def expected(self, before: Tensor, here: Here) -> Tensor:
        return torch.stack([row * 0.5 for row in before])


@dataclass(frozen=True, eq=False)
class Diagonal(EdgeBlocker):
    """Each query loses the key before it; says so in rectangles as well."""

    layers: Any = "all"

    def blocked(self, layer: int, sequences: Any, queries: range) -> Tensor:
        key, query = torch.arange(queries.stop)[None], torch.tensor(list(queries))[:, None]
        return (query - key == 1).expand(sequences.n_rows, -1, -1)

    def expected(self, layer: int, sequences: Any, row: int) -> Any:
        return [([query], [query - 1]) for query in range(1, sequences.n_positions)]


def test_a_users_own_writer_is_asked_itself_unless_it_says_what_to_expect(vlm: HookedVLM, inputs: Inputs) -> None:
    silent, talking, diagonal = Halved("image"), SaysSo("last"), Diagonal()
    knockout, noise = AttentionKnockout("last", "image"), NoiseAblation("image")
    verification = vlm.run(inputs, silent, talking, noise).verify()
    assert written(verification, talking).is_independent
    for one in (silent, noise):
        found = written(verification, one)
        assert not found.is_independent and "by its own `value` asked again" in found.check
    verification = vlm.run(inputs, knockout, diagonal).verify()
    for one in (knockout, diagonal):
        assert all(each.is_independent for each in verification.of(one))
    assert set(verification.to_dataframe()["is_independent"]) == {True}

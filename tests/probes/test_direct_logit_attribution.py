"""What every component adds to a logit sums to the logit, and is what plain arithmetic on the checkpoint gives."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import D_VOCAB, new_clip
from vlm_lens import AttentionKnockout, DirectLogitAttribution, HookedTransformer, HookedVLM, Writer, ZeroAblation
from vlm_lens.attachments import Here
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError
from vlm_lens.model.loading import clip_parts
from vlm_lens.probes.attribution.residual_ledger import Component

FOR, AGAINST = 40, 77


@dataclass(frozen=True, eq=False)
class Added(Writer):
    """Adds a vector to the stream."""

    vector: Tensor
    hook: str = "blocks.0.hook_resid_mid"

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation + self.vector


def direction_of(checkpoint: Any) -> Tensor:
    unembed = checkpoint.lm_head.weight
    return (unembed[FOR] - unembed[AGAINST]) * checkpoint.model.language_model.norm.weight


def naive(checkpoint: Any, inputs: Any) -> tuple[dict[Component, Tensor], Tensor, dict[int, Tensor]]:
    """By hand, at the last position: components `[batch]`, the logits' difference, and z `[batch pos head d_head]`."""
    plain, added, z = Plain(checkpoint), {}, {}
    cfg = checkpoint.config.text_config
    layers = range(cfg.num_hidden_layers)

    def keep(component: Any, value: Tensor) -> Tensor:
        added[component] = value[:, -1]
        return value

    def keep_z(layer: int, value: Tensor) -> Tensor:
        z[layer] = value.unflatten(-1, (cfg.num_attention_heads, -1))
        return value

    edits: dict[Any, Any] = {"embed": partial(keep, Component("embed"))}
    for layer in layers:
        for part, kind in (("attn_out", "attn"), ("mlp_out", "mlp")):
            edits["decoder", part, layer] = partial(keep, Component(kind, layer))
        edits["decoder", "z", layer] = partial(keep_z, layer)
    with torch.no_grad():
        logits = plain.logits(inputs, edits=edits)[:, -1]
    stream = sum(added.values())
    scale = (stream.pow(2).mean(dim=-1) + cfg.rms_norm_eps).sqrt()
    direction = direction_of(checkpoint).detach()
    parts = {one: value @ direction / scale for one, value in added.items()}
    for layer in layers:
        weight = checkpoint.model.language_model.layers[layer].self_attn.o_proj.weight.detach()
        for head in range(cfg.num_attention_heads):
            d_head = z[layer].shape[-1]
            own = weight[:, head * d_head : (head + 1) * d_head]
            parts[Component("head", layer, head)] = z[layer][:, -1, head] @ own.T @ direction / scale
    return parts, logits[:, FOR] - logits[:, AGAINST], {**z, -1: scale}


@pytest.mark.parametrize("family", FAMILIES)
def test_components_and_heads_are_those_of_plain_arithmetic(family: str) -> None:
    vlm, checkpoint = tiny_vlm(family), tiny_checkpoint(family)
    inputs = tiny_inputs(vlm)
    whole, split = DirectLogitAttribution(FOR, AGAINST), DirectLogitAttribution(FOR, AGAINST, by="head")
    run = vlm.run(inputs, whole, split)
    assert torch.equal(run.logits, vlm(inputs))
    parts, difference, _ = naive(checkpoint, inputs)
    for found in (run[whole], run[split]):
        assert [query.row for query in found.queries] == [0, 1]
        np.testing.assert_allclose(found.logits, difference, atol=1e-5)
        largest = np.abs(found.values).max()
        np.testing.assert_allclose(found.values.sum(axis=1), difference, atol=1e-5 * largest)
        assert found.error <= 1e-5
        seen = 0
        for place, component in enumerate(found.components):
            if component in parts:
                seen += 1
                np.testing.assert_allclose(found.values[:, place], parts[component], atol=1e-5 * largest)
        assert seen >= 5


@pytest.mark.parametrize("family", ["grouped heads", "sliding window"])
def test_positions_are_pattern_times_value(family: str) -> None:
    vlm, checkpoint = tiny_vlm(family), tiny_checkpoint(family)
    inputs = tiny_inputs(vlm)
    probe = DirectLogitAttribution(FOR, AGAINST, by="position", layers=1, heads=[1, 3])
    found = vlm.run(inputs, probe)[probe]
    _, _, kept = naive(checkpoint, inputs)
    plain = Plain(checkpoint)
    values: list[Tensor] = []
    attention = checkpoint.model.language_model.layers[1].self_attn
    handle = attention.v_proj.register_forward_hook(lambda module, args, output: values.append(output.detach()))
    with torch.no_grad():
        plain.logits(inputs)
    handle.remove()
    d_head = attention.head_dim
    group = checkpoint.config.text_config.num_attention_heads // checkpoint.config.text_config.num_key_value_heads
    assert found.sources is not None
    for row in (0, 1):
        for place, head in enumerate((1, 3)):
            v = values[0][row].unflatten(-1, (-1, d_head))[:, head // group]
            own = attention.o_proj.weight.detach()[:, head * d_head : (head + 1) * d_head]
            expected = plain.patterns["decoder", 1][row, head, -1] * (v @ own.T @ direction_of(checkpoint).detach())
            got = found.sources[row, 0, place]
            np.testing.assert_allclose(got, expected / kept[-1][row], atol=1e-5)
    np.testing.assert_allclose(found.sources.sum(axis=-1)[0], found.by_head(0), atol=1e-5)
    image = inputs.layout.image_span(0, 0)
    np.testing.assert_array_equal(
        found.maps(0)[0].ravel(), found.sources[0, 0].sum(axis=0)[list(image.patch_positions)]
    )


def layer_norm_decoder() -> HookedTransformer:
    """CLIP's text tower with an unembedding, bias and all: LayerNorm, learned positions, biased linears."""
    cfg, parts = clip_parts(new_clip()).text
    unembed = nn.Linear(cfg.d_model, D_VOCAB)
    return HookedTransformer(replace(cfg, d_vocab=D_VOCAB), replace(parts, unembed=unembed))


@pytest.mark.parametrize("by", ["component", "head", "position"])
def test_layer_norms_and_biases_sum_too(by: Any) -> None:
    model = layer_norm_decoder()
    tokens = torch.arange(300, 312).view(2, 6)
    probe = DirectLogitAttribution(FOR, [AGAINST, 12], positions=slice(2, 5), by=by)
    run = model.run(tokens, probe)
    found = run[probe]
    assert len(found.queries) == 6
    for value, query in zip(found.logits, found.queries, strict=True):
        logits = run.logits[query.row, query.position]
        assert value == pytest.approx(float(logits[FOR] - logits[[AGAINST, 12]].mean()), abs=1e-5)
    assert found.error <= 1e-5
    bias = found.values[:, found.components.index(Component("bias"))]
    assert np.abs(bias).min() > 1e-3
    assert Component("positions") in found.components


def test_an_edit_of_the_stream_is_a_component() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    vector = torch.linspace(-1, 1, vlm.cfg.d_model)
    plain, probe = DirectLogitAttribution(FOR), DirectLogitAttribution(FOR)
    clean, found = vlm.run(inputs, plain)[plain], vlm.run(inputs, Added(vector), probe)[probe]
    assert {one.kind for one in clean.components} == {"embed", "attn", "mlp", "bias"}
    assert found.components.count(Component("edit", 0)) == 1
    assert found.error <= 1e-5


@pytest.mark.parametrize("by", ["component", "position"])
def test_it_reads_inside_attach_with_gradients_on(by: Any) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    probe, plain = DirectLogitAttribution(FOR, by=by), DirectLogitAttribution(FOR, by=by)
    with vlm.attach(probe) as attached:
        assert vlm(inputs).requires_grad
        found = attached[probe]
    np.testing.assert_allclose(found.values, vlm.run(inputs, plain)[plain].values, atol=1e-5)


def test_generation_is_explained_step_by_step() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    own, named = (
        DirectLogitAttribution(positions="predicting", by="head"),
        DirectLogitAttribution(FOR, positions="predicting", by="position"),
    )
    knockout = AttentionKnockout("predicting", "image", layers=1)
    run = vlm.generate(inputs, knockout, own, named, max_new_tokens=4, eos_token_id=())
    longer = inputs
    for step in range(4):
        if step:
            longer = longer.continued(run.tokens[:, step - 1])
        at = -1 if not step else longer.shape[1] - 1
        alone = DirectLogitAttribution({0: int(run.tokens[0, step]), 1: int(run.tokens[1, step])}, positions=at)
        uncached = DirectLogitAttribution(FOR, positions=at, by="position")
        again = vlm.run(longer, knockout, alone, uncached)
        for row in (0, 1):
            place = [(one.row, one.step) for one in run[own].queries].index((row, step))
            mlp = run[own].components.index(Component("mlp", 1))
            found = run[own].values[place, mlp]
            other = again[alone].values[row, again[alone].components.index(Component("mlp", 1))]
            assert found == pytest.approx(other, abs=1e-4)
            cached, whole = run[named].sources, again[uncached].sources
            assert cached is not None and whole is not None
            np.testing.assert_allclose(cached[place][..., : whole.shape[-1]], whole[row], atol=1e-4)
    assert run[own].error <= 1e-5
    assert run[named].sources is not None
    for query, sources in zip(run[named].queries, run[named].sources, strict=True):
        image = list(inputs.layout.positions("image", query.row))
        assert not sources[1][:, image].any() and sources[0][:, image].any()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(target="Yes, certainly"), InputError, "is not a single token"),
        (dict(target=True), InputError, "a text of one token, or its id"),
        (dict(target=10**6), InputError, "an id from 0 to"),
        (dict(target="<s>"), InputError, "begins or fills a text"),
        (dict(target=2), InputError, "give the answer as text"),  # what encode() begins with
        (dict(target=[]), InputError, "a token, got none"),
        (dict(target=" Yes", against=" Yes"), InputError, "different tokens"),
        (dict(target={3: " Yes"}), PositionError, "one for each row from 0 to 0"),
        (dict(by="position", target=None), InputError, "so that values need not be kept"),
        (dict(positions="newline", target=" No"), EmptySelectionError, "positions that occur"),
        (dict(heads=9, by="head"), HookError, "heads from 0 to 5"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_run(
    demo: HookedVLM, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    assert demo.tokenizer.bos_token_id == 2
    probe = replace(DirectLogitAttribution(" Yes"), **change)
    with pytest.raises(error, match=message):
        demo.run("Is it a cat?", probe)


@pytest.fixture(scope="module")
def demo() -> HookedVLM:
    return HookedVLM.demo()


def test_the_other_spelling_of_an_answer_is_pointed_at(demo: HookedVLM) -> None:
    assert demo.to_single_token("Yes") != demo.to_single_token(" Yes")
    inputs = demo.prepare(np.zeros((192, 192, 3), dtype=np.uint8), "Is there a cat in this image?")
    with pytest.warns(UserWarning, match="The model says ' Yes' rather than 'Yes'"):
        demo.run(inputs, DirectLogitAttribution("Yes"))


def test_what_it_cannot_tell_apart_is_refused_at_once(demo: HookedVLM) -> None:
    with pytest.raises(InputError, match="by to be 'component', 'head' or 'position', got 'layer'. 'component' has"):
        DirectLogitAttribution(by="layer")
    inputs = demo.prepare(np.zeros((192, 192, 3), dtype=np.uint8), "Is there a cat in this image?")
    probe = DirectLogitAttribution(" Yes")
    with pytest.raises(HookError, match="Positions were not told apart"):
        demo.run(inputs, probe)[probe].plot(region=inputs.layout.patches(rows=0))


def test_results_are_tidy_and_drawn(demo: HookedVLM) -> None:
    inputs = demo.prepare(np.zeros((192, 192, 3), dtype=np.uint8), "Is there a cat in this image?")
    probes = [DirectLogitAttribution(" Yes", " No", by=by) for by in ("component", "head", "position")]
    run = demo.run(inputs, *probes)
    for probe in probes:
        found = run[probe]
        frame = found.to_dataframe()
        assert found.error <= 1e-5 and "sum off by" in repr(found)
        if found.sources is None:
            assert frame.contribution.sum() == pytest.approx(found.logits[0], abs=1e-4)
        else:
            patches = frame[frame.source_role == "image"].groupby(["patch_row", "patch_col"]).contribution.sum()
            np.testing.assert_allclose(patches.to_numpy(), found.maps().sum(axis=0).ravel(), atol=1e-9)
        assert found.plot().data
    by_head = run[probes[1]]
    (heatmap,) = by_head.plot().data  # layers upwards and heads across, as a grid of patches has them
    assert heatmap.z.shape == by_head.by_head().shape == (6, 6)
    assert heatmap.z[4, 3] == by_head.by_head()[4, 3] != by_head.by_head()[3, 4]
    text = DirectLogitAttribution(" Yes", by="position")
    assert demo.run("Is it a cat?", text)[text].plot().data


def test_what_a_head_adds_beside_what_it_reads_is_told() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    probe = DirectLogitAttribution(FOR, by="position")
    plain = vlm.run(inputs, probe)[probe]
    written = vlm.run(inputs, ZeroAblation("last", hook="blocks.1.attn.hook_z", heads=[1]), probe)[probe]
    for row in (0, 1):
        assert np.abs(plain.remainder(row)).max() < 1e-5
        left = written.remainder(row)
        assert written.sources is not None
        np.testing.assert_allclose(left[1, 1], -written.sources[row, 1, 1].sum(), atol=1e-5)  # the head adds nothing
        assert abs(left[1, 1]) > 1e-3 and np.abs(np.delete(left.ravel(), 5)).max() < 1e-5
    by_head = DirectLogitAttribution(FOR, by="head")
    with pytest.raises(HookError, match="Positions were not told apart"):
        vlm.run(inputs, by_head)[by_head].remainder()

"""The cache: TransformerLens's methods on both towers, and sums that come out."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.inputs.tiny_processors import processor_of
from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import distance
from vlm_lens import HookedVLM
from vlm_lens.errors import InputError
from vlm_lens.model.cache import ActivationCache

TOLERANCE = 1e-5


def cached(vlm: HookedVLM, inputs: Any, **options: Any) -> tuple[Tensor, ActivationCache]:
    with torch.no_grad():
        return vlm.run_with_cache(inputs, **options)


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest) -> tuple[HookedVLM, Any, Tensor, ActivationCache]:
    vlm = tiny_vlm(request.param)
    inputs = tiny_inputs(vlm)
    return vlm, inputs, *cached(vlm, inputs)


@pytest.fixture(params=["decoder", "vision"])
def tower(request: pytest.FixtureRequest, run: Any) -> ActivationCache:
    return run[3] if request.param == "decoder" else run[3].vision


def last_stream(tower: ActivationCache) -> Tensor:
    return tower["resid_post", tower.model.cfg.n_layers - 1]


def test_sublayers_and_embedding_sum_to_the_stream(tower: ActivationCache) -> None:
    for layer in range(tower.model.cfg.n_layers):
        parts, labels = tower.decompose_resid(layer, return_labels=True)
        assert labels[0] == "embed" and len(labels) == 1 + 2 * layer
        assert distance(parts.sum(dim=0), tower["resid_pre", layer]) <= TOLERANCE
        with_attention = tower.decompose_resid(layer, mlp_input=True)
        assert distance(with_attention.sum(dim=0), tower["resid_mid", layer]) <= TOLERANCE
    assert distance(tower.decompose_resid().sum(dim=0), last_stream(tower)) <= TOLERANCE


def test_heads_and_bias_sum_to_what_attention_adds(tower: ActivationCache) -> None:
    model, n_layers = tower.model, tower.model.cfg.n_layers
    heads, labels = tower.stack_head_results(return_labels=True)
    assert labels[-1] == f"L{n_layers - 1}H{model.cfg.n_heads - 1}"
    attention = sum(tower["attn_out", layer] for layer in range(n_layers))
    biases = sum(model.blocks[layer].attn.b_O for layer in range(n_layers))
    assert distance(heads.sum(dim=0) + biases, attention) <= TOLERANCE
    whole = tower.stack_head_results(incl_remainder=True)
    assert distance(whole.sum(dim=0), last_stream(tower)) <= TOLERANCE


@pytest.mark.parametrize("expands_neurons", [True, False])
def test_heads_neurons_embedding_and_biases_sum_to_the_stream(tower: ActivationCache, expands_neurons: bool) -> None:
    cfg = tower.model.cfg
    parts, labels = tower.get_full_resid_decomposition(expand_neurons=expands_neurons, return_labels=True)
    n_mlp = cfg.n_layers * (cfg.d_mlp if expands_neurons else 1)
    assert len(labels) == cfg.n_layers * cfg.n_heads + n_mlp + 2
    assert labels[-2:] == ["embed", "bias"]
    assert distance(parts.sum(dim=0), last_stream(tower)) <= TOLERANCE


def test_the_accumulated_stream_is_the_stream_of_each_layer(tower: ActivationCache) -> None:
    streams, labels = tower.accumulated_resid(incl_mid=True, return_labels=True)
    assert labels == [f"{i}_{part}" for i in range(tower.model.cfg.n_layers) for part in ("pre", "mid")] + [
        "final_post"
    ]
    assert torch.equal(streams[1], tower["resid_mid", 0])
    assert torch.equal(streams[-1], last_stream(tower))
    with torch.no_grad():
        normed = tower.accumulated_resid(apply_ln=True)
        assert torch.equal(normed[1], tower.model.ln_final(tower["resid_pre", 1]))


def test_a_normed_stack_sums_to_the_normalized_stream(tower: ActivationCache) -> None:
    for layer, mlp_input, norm in ((1, False, "blocks.1.ln1"), (1, True, "blocks.1.ln2"), (-1, False, "ln_final")):
        parts = tower.decompose_resid(layer, mlp_input=mlp_input)
        normed = tower.apply_ln_to_stack(parts, layer, mlp_input=mlp_input)
        assert distance(normed.sum(dim=0), tower[f"{norm}.hook_normalized"]) <= TOLERANCE


def test_attributions_sum_to_the_logit(run: Any) -> None:
    vlm, inputs, logits, cache = run
    assert (vlm.ln_final.w - 1).abs().max() > 0.1
    is_real = inputs.attention_mask.bool()
    tokens, others = torch.randint(300, 500, (2, *inputs.shape))
    chosen, other = (logits.gather(-1, t[..., None])[..., 0] for t in (tokens, others))
    for parts in (cache.decompose_resid(), cache.get_full_resid_decomposition(expand_neurons=False)):
        sums = cache.logit_attrs(parts, tokens).sum(dim=0)
        assert distance(sums[is_real], chosen[is_real]) <= TOLERANCE
        differences = cache.logit_attrs(parts, tokens, incorrect_tokens=others).sum(dim=0)
        assert distance(differences[is_real], (chosen - other)[is_real]) <= TOLERANCE
    one = cache.logit_attrs(cache.decompose_resid(pos_slice=-1), 321, pos_slice=-1).sum(dim=0)
    assert distance(one, logits[:, -1, 321]) <= TOLERANCE


def test_attributions_take_words(shared_vlm: HookedVLM) -> None:
    vlm = HookedVLM.from_hf(tiny_checkpoint(), processor_of())
    logits, cache = cached(vlm, "Is there a cat")
    attributions = cache.logit_attrs(cache.decompose_resid(pos_slice=-1), " cat", pos_slice=-1)
    assert distance(attributions.sum(dim=0), logits[:, -1, vlm.to_single_token(" cat")]) <= TOLERANCE


def test_shorthands_name_the_decoder_and_the_vision_part_its_own(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs)
    assert torch.equal(cache["pattern", 1], cache["blocks.1.attn.hook_pattern"])
    assert torch.equal(cache["scale"], cache["ln_final.hook_scale"])
    assert torch.equal(cache["normalized", 1, "ln2"], cache["blocks.1.ln2.hook_normalized"])
    assert torch.equal(cache["resid_post", -1], cache["blocks.1.hook_resid_post"])
    assert torch.equal(cache["embed"], cache["hook_embed"])
    assert torch.equal(cache.vision["pattern", 1], cache["vision.blocks.1.attn.hook_pattern"])
    assert torch.equal(cache.vision["resid_post", -1], cache["vision.blocks.2.hook_resid_post"])
    assert {f"vision.{name}" for name in cache.vision} < set(cache)
    assert cache["projector.hook_out"].shape == (2, 16, 24)


def test_a_cache_is_a_mapping_of_all_names(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs)
    assert list(cache) == list(cache.keys()) and len(cache) == len(list(cache.values()))
    assert all("hook_embed" in part for part in (cache, cache.vision))
    assert "vision.hook_embed" in cache and "blocks.0.hook_q_input" not in cache
    assert sum(value.numel() * value.element_size() for _, value in cache.items()) == cache.n_bytes


def test_flags_add_what_is_computed_when_asked(vlm: HookedVLM, inputs: Any) -> None:
    plain = set(cached(vlm, inputs)[1])
    vlm.set_use_attn_result(True)
    vlm.set_use_hook_mlp_in(True)
    added = set(cached(vlm, inputs)[1]) - plain
    vlm.set_use_attn_result(False)
    vlm.set_use_hook_mlp_in(False)
    endings = (".attn.hook_result", ".hook_mlp_in")
    assert {name for name in added if not name.startswith("vision.")} == {
        f"blocks.{layer}{ending}" for layer in range(2) for ending in endings
    }


@pytest.mark.parametrize("pos_slice", [5, -1, (2, 9), (1, 20, 3), [0, 7, 11]], ids=str)
def test_positions_are_cut_on_the_right_axis_of_every_hook(vlm: HookedVLM, inputs: Any, pos_slice: Any) -> None:
    everything = lambda name: True  # noqa: E731
    _, whole = cached(vlm, inputs, names_filter=everything)
    _, cut = cached(vlm, inputs, names_filter=everything, pos_slice=pos_slice)
    key = slice(*pos_slice) if isinstance(pos_slice, tuple) else pos_slice
    key = [key] if isinstance(key, int) else key  # as in TransformerLens, one position keeps its axis
    assert set(cut) == set(whole)
    for name, value in whole.items():
        by_query = name.endswith(("hook_pattern", "hook_attn_scores", "hook_mask"))
        if name.startswith(("vision.", "projector.")):
            expected = value
        else:
            expected = value[:, :, key] if by_query else value[:, key]
        assert torch.equal(cut[name], expected), name


def test_one_row_can_go_without_its_batch_axis(vlm: HookedVLM, inputs: Any) -> None:
    row = inputs.row(1)
    logits, whole = cached(vlm, row)
    _, bare = cached(vlm, row, remove_batch_dim=True)
    for name, value in whole.items():
        is_picture = name.startswith(("vision.", "projector."))
        assert torch.equal(bare[name], value if is_picture else value[0]), name
    parts = bare.decompose_resid()
    assert distance(parts.sum(dim=0), whole["resid_post", 1][0]) <= TOLERANCE
    token = row.input_ids[0, -1]
    attributions = bare.logit_attrs(parts, token, has_batch_dim=False).sum(dim=0)
    assert distance(attributions, logits[0, :, token]) <= TOLERANCE
    whole.remove_batch_dim()
    assert torch.equal(whole["pattern", 0], bare["pattern", 0])
    assert whole.vision["pattern", 0].ndim == 4


def test_two_rows_keep_their_batch_axis(vlm: HookedVLM, inputs: Any) -> None:
    for given in (inputs, inputs.input_ids):
        with pytest.raises(InputError, match="expected a batch of 1, got 2 rows"):
            vlm.run_with_cache(given, remove_batch_dim=True)


def test_a_cache_can_be_elsewhere(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs, device="meta")
    assert {value.device.type for value in cache.values()} == {"meta"}
    _, cache = cached(vlm, inputs)
    assert {value.device.type for value in cache.to("meta").values()} == {"meta"}


def test_what_is_not_there_is_said(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs, names_filter="blocks.0.hook_resid_pre")
    with pytest.raises(KeyError, match=r"blocks\.1\.hook_resid_pre was not cached: .* Add it to names_filter"):
        cache["resid_pre", 1]
    with pytest.raises(KeyError, match=r"vision\.hook_embed was not cached"):
        cache["vision.hook_embed"]
    with pytest.raises(KeyError, match=r"blocks\.9\.hook_resid_pre is no hook: .* Did you mean"):
        cache["resid_pre", 9]
    with pytest.raises(KeyError, match="Did you mean 'hook_embed'"):
        cache["hook_embd"]


def test_a_cache_shows_itself(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs, names_filter=["hook_embed", "vision.hook_embed"])
    html = cache._repr_html_()
    assert "ActivationCache(2 activations" in html
    assert "<code>hook_embed</code></td><td>(2, 24, 24)</td>" in html
    assert "<code>vision.hook_embed</code></td><td>(2, 17, 16)</td>" in html


def test_activations_can_come_as_a_plain_dictionary(vlm: HookedVLM, inputs: Any) -> None:
    _, cache = cached(vlm, inputs, return_cache_object=False)
    assert type(cache) is dict and torch.equal(cache["hook_embed"], cached(vlm, inputs)[1]["hook_embed"])

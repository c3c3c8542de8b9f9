"""What a report says equals what the model does, computed another way."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from vlm_lens import ActivationCache, HookedVLM, Inputs
from vlm_lens.demo.examples import ExampleScene
from vlm_lens.errors import InputError, VerificationError
from vlm_lens.model import attention
from vlm_lens.model.scaled_attention import fused_attention
from vlm_lens.probes.token_names import token_names
from vlm_lens.report import CaseReport, Cut, measure_case
from vlm_lens.report.knockout import checked_layers, control_draws

N_STEPS = 6
CUT_LAYERS = (1, 2, 3, 4)
PROMPT = "Is there a cat in this image?"


@pytest.fixture(scope="module")
def case(vlm: HookedVLM, scene: ExampleScene) -> CaseReport:
    assert scene.subject is not None
    return measure_case(
        vlm,
        scene.scene.image,
        PROMPT,
        title="test",
        mask=scene.subject.mask,
        words=("cat",),
        layers=CUT_LAYERS,
        max_new_tokens=N_STEPS,
    )


@pytest.fixture(scope="module")
def inputs(vlm: HookedVLM, scene: ExampleScene) -> Inputs:
    return vlm.prepare(scene.scene.image, PROMPT)


@pytest.fixture(scope="module")
def cache(vlm: HookedVLM, inputs: Inputs) -> ActivationCache:
    with torch.no_grad():
        return vlm.run_with_cache(
            inputs, names_filter=lambda name: name.endswith(("resid_pre", "resid_post", "pattern"))
        )[1]


def ids_of(vlm: HookedVLM, names: Iterable[str]) -> list[int]:
    """The tokens of some names, found in the whole vocabulary."""
    known = token_names(vlm, range(vlm.cfg.d_vocab))
    return [known.index(name) for name in names]


def cut_keys(inputs: Inputs, scene: ExampleScene) -> tuple[int, ...]:
    assert scene.subject is not None
    return inputs.layout.region(scene.subject.mask).dilate(1).positions


def clean_probabilities(vlm: HookedVLM, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return vlm(inputs)[0, -1].softmax(dim=-1)


def naive_logits(
    vlm: HookedVLM, inputs: Inputs, tokens: Sequence[int], keys: Sequence[int], first_query: int
) -> Tensor:
    """Uncached: the pattern itself loses the edges and is renormalised, row by row."""
    n_prompt = inputs.shape[1]
    new = torch.tensor([list(tokens)], dtype=torch.long)
    mapping = {
        "input_ids": torch.cat([inputs.input_ids, new], dim=1),
        "attention_mask": torch.ones(1, n_prompt + len(tokens), dtype=torch.long),
        "pixel_values": inputs.pixel_values,
    }

    def cut(pattern: Tensor, hook: object) -> Tensor:
        pattern = pattern.clone()
        for row in range(first_query, pattern.shape[2]):
            for key in keys:
                pattern[:, :, row, key] = 0
        return pattern / pattern.sum(dim=-1, keepdim=True)

    hooks = [(f"blocks.{layer}.attn.hook_pattern", cut) for layer in CUT_LAYERS]
    with torch.inference_mode():
        return vlm.run_with_hooks(mapping, fwd_hooks=hooks)[0, -1]


def test_last_lens_is_the_models_own_answer(case: CaseReport, vlm: HookedVLM, inputs: Inputs) -> None:
    expected = clean_probabilities(vlm, inputs)
    best = expected.topk(5)
    assert list(case.next_tokens.tokens) == token_names(vlm, best.indices.tolist())
    assert case.next_tokens.probabilities == pytest.approx(best.values.tolist(), rel=1e-4)
    assert list(case.last_lens.tokens[-1]) == list(case.next_tokens.tokens)
    assert case.last_lens.probabilities[-1] == pytest.approx(case.next_tokens.probabilities, rel=1e-4)


def test_lens_of_each_patch_equals_norm_and_unembedding_of_its_stream(
    case: CaseReport, vlm: HookedVLM, inputs: Inputs, cache: ActivationCache
) -> None:
    first = inputs.layout.image_span().patch_positions.start
    cat = vlm.to_single_token(" cat")
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(6))]
    for stream, name in enumerate(names):
        for row, column in ((0, 0), (5, 7), (11, 11)):
            vector = cache[name][0, first + 12 * row + column].detach()
            normed = vector * torch.rsqrt(vector.pow(2).mean() + vlm.cfg.eps) * vlm.ln_final.w.detach()
            probabilities = (normed @ vlm.unembed.W_U.detach()).softmax(dim=-1)
            found = case.lens[stream, row, column]
            assert found.probabilities == pytest.approx(probabilities.topk(5).values.tolist(), rel=1e-3)
            assert list(found.tokens) == token_names(vlm, probabilities.topk(5).indices.tolist())
            value = case.targets[" cat"][stream, row, column]
            assert value == pytest.approx(float(probabilities[cat]), rel=1e-3)


def test_attention_equals_the_mean_pattern_of_the_last_position(
    case: CaseReport, scene: ExampleScene, inputs: Inputs, cache: ActivationCache
) -> None:
    layout = inputs.layout
    assert scene.subject is not None
    region = layout.region(scene.subject.mask)
    for layer in range(6):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1].mean(dim=0)
        shares = dict(zip(case.groups, case.shares[layer], strict=True))
        assert shares["bos"] == pytest.approx(float(pattern[0]), rel=1e-4)
        assert shares["image: object"] == pytest.approx(float(pattern[list(region.positions)].sum()), rel=1e-4)
        patches = pattern[list(layout.image_span().patch_positions)].reshape(12, 12)
        assert np.allclose(case.attention[layer], patches.numpy(), rtol=1e-4, atol=1e-7)
    assert np.allclose(case.shares.sum(axis=1), 1, atol=1e-5)
    assert case.groups[-2:] == ("image: object", "image: elsewhere")


def first_queries(inputs: Inputs) -> dict[str, int]:
    """The last prompt position, and the first one behind the picture."""
    image = inputs.layout.positions("image")
    return {"from_answer": inputs.shape[1] - 1, "from_text": image[-1] + 1}


@pytest.mark.parametrize("cut", ["from_answer", "from_text"])
def test_knockout_equals_a_pattern_without_the_edges_renormalised(
    cut: str, case: CaseReport, vlm: HookedVLM, scene: ExampleScene, inputs: Inputs
) -> None:
    keys = cut_keys(inputs, scene)
    naive = naive_logits(vlm, inputs, (), keys, first_queries(inputs)[cut]).softmax(dim=-1)
    clean = clean_probabilities(vlm, inputs)
    found: Cut = getattr(case.knockout, cut)
    ids = ids_of(vlm, found.probabilities)
    assert list(found.probabilities.values()) == pytest.approx(naive[ids].tolist(), rel=1e-4)
    assert list(case.knockout.clean.values()) == pytest.approx(clean[ids].tolist(), rel=1e-4)
    assert set(naive.topk(2).indices.tolist()) <= set(ids)
    assert (naive - clean).abs().max() > 1e-4, "the cut edges matter in this model"
    assert case.knockout.n_patches == len(keys)


@pytest.mark.parametrize("cut", ["from_answer", "from_text"])
def test_knocked_out_answer_equals_the_uncached_loop(
    cut: str, case: CaseReport, vlm: HookedVLM, scene: ExampleScene, inputs: Inputs
) -> None:
    keys, first_query = cut_keys(inputs, scene), first_queries(inputs)[cut]
    tokens: list[int] = []
    for _ in range(N_STEPS):
        tokens.append(int(naive_logits(vlm, inputs, tokens, keys, first_query).argmax()))
        if tokens[-1] == vlm.tokenizer.eos_token_id:
            break
    expected = vlm.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert getattr(case.knockout, cut).answer == expected


def test_proof_counts_every_edge_from_a_word_to_the_object(
    case: CaseReport, vlm: HookedVLM, scene: ExampleScene, inputs: Inputs
) -> None:
    keys, first_query = cut_keys(inputs, scene), first_queries(inputs)["from_text"]
    n_prompt_rows = inputs.shape[1] - first_query
    proof = case.knockout.proof
    n_edges = len(keys) * (n_prompt_rows + proof.n_steps - 1) * len(CUT_LAYERS) * vlm.cfg.n_heads
    assert (proof.n_edges, proof.n_layers, proof.n_heads) == (n_edges, len(CUT_LAYERS), vlm.cfg.n_heads)
    assert 1 <= proof.n_steps <= N_STEPS and proof.n_checks > 5 and proof.n_runs > 1


def test_a_knockout_that_did_not_act_makes_no_report(
    vlm: HookedVLM, scene: ExampleScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_mask(q: Tensor, k: Tensor, v: Tensor, mask: object, is_causal: bool, scale: float) -> Tensor:
        is_prompt = mask is not None and q.shape[2] == k.shape[2]
        return fused_attention(q, k, v, None, is_causal or is_prompt, scale)

    monkeypatch.setattr(attention, "fused_attention", without_mask)
    with pytest.raises(VerificationError, match="pattern @ v under the mask asked for"):
        measure_case(vlm, scene.scene.image, PROMPT, title="t", max_new_tokens=1)


def test_control_equals_the_mean_over_its_draws(
    case: CaseReport, vlm: HookedVLM, scene: ExampleScene, inputs: Inputs
) -> None:
    assert scene.subject is not None and case.knockout.control is not None
    draws = control_draws(inputs.layout.region(scene.subject.mask).dilate(1))
    first_query = first_queries(inputs)["from_text"]
    runs = [naive_logits(vlm, inputs, (), keys, first_query).softmax(dim=-1) for keys in draws]
    mean = torch.stack(runs).mean(dim=0)
    token, value = next(iter(case.knockout.control.items()))
    assert value == pytest.approx(float(mean[ids_of(vlm, [token])[0]]), rel=1e-4)


def test_control_draws_are_other_patches_and_as_many(inputs: Inputs) -> None:
    cut = inputs.layout.patches(rows=slice(0, 3))
    draws = control_draws(cut)
    assert len(set(draws)) == len(draws) > 1
    image = set(inputs.layout.positions("image"))
    for draw in draws:
        assert len(set(draw)) == len(cut)
        assert set(draw) <= image - set(cut.positions)
    assert draws == control_draws(cut), "the same picture gives the same report"


def test_there_is_no_control_where_too_few_patches_are_left(inputs: Inputs) -> None:
    assert control_draws(inputs.layout.patches(rows=slice(0, 7))) == []


def test_without_a_mask_the_whole_image_is_cut(vlm: HookedVLM, scene: ExampleScene) -> None:
    case = measure_case(vlm, scene.scene.image, PROMPT, title="test", max_new_tokens=1)
    assert case.knockout.is_whole_image and case.knockout.n_patches == 144
    assert case.knockout.control is None and case.picture.region is None
    assert "image" in case.groups
    assert case.knockout.layers == tuple(range(6))


def test_pieces_spell_the_prompt_with_one_piece_for_the_picture(case: CaseReport) -> None:
    roles = [piece.role for piece in case.pieces]
    assert roles.count("image") == 1 and roles[0] == "bos"
    assert [piece.n_tokens for piece in case.pieces if piece.role == "image"] == [144]
    assert any(PROMPT in piece.text for piece in case.pieces if piece.role == "question")


def test_measuring_leaves_no_hook_even_after_an_error(vlm: HookedVLM, scene: ExampleScene) -> None:
    def interrupted(step: str) -> None:
        if step == "knocking out":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_case(vlm, scene.scene.image, PROMPT, title="t", max_new_tokens=1, on_step=interrupted)
    assert all(not point.fwd_hooks and not point.bwd_hooks for point in vlm.hook_dict.values())


def test_no_two_tokens_have_the_same_name(vlm: HookedVLM) -> None:
    names = token_names(vlm, range(vlm.cfg.d_vocab))
    assert len(set(names)) == vlm.cfg.d_vocab
    assert names[vlm.to_single_token(" cat")] == " cat"
    assert "<0xE9>" in names


def test_layers_that_the_model_lacks_are_refused() -> None:
    assert checked_layers(None, 3) == (0, 1, 2)
    assert checked_layers([2, 0, 2], 3) == (0, 2)
    for layers in ([], [3], [-1]):
        with pytest.raises(InputError, match="0 to 2"):
            checked_layers(layers, 3)


def test_a_word_of_several_tokens_is_refused(vlm: HookedVLM, scene: ExampleScene) -> None:
    with pytest.raises(InputError, match="single token"):
        measure_case(vlm, scene.scene.image, PROMPT, title="test", words=("zebrafish",))


def test_a_mask_of_another_size_is_refused(vlm: HookedVLM, scene: ExampleScene) -> None:
    with pytest.raises(InputError):
        measure_case(vlm, scene.scene.image, PROMPT, title="test", mask=np.ones((10, 10), dtype=bool))

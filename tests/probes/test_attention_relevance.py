"""Attention relevance against the rule written out on plain `transformers`: eager attention, all layers kept."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, new_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import new_clip, position_ids, random_pixels
from vlm_lens import AttentionKnockout, AttentionRelevance, Except, HookedCLIP
from vlm_lens.errors import EmptySelectionError, HookError, InputError

FOR, AGAINST = 40, 77


@cache
def eager(family: str) -> Any:
    checkpoint = new_checkpoint(family)
    checkpoint.set_attn_implementation("eager")
    return checkpoint


def carried(answer: Tensor, patterns: Any, layers: Any) -> Tensor:
    """R of every query: R = I, then R + mean over heads of (gradient x attention)^+ R, layer by layer."""
    gradients = torch.autograd.grad(answer, patterns)
    batch, _, n, _ = patterns[0].shape
    relevance = torch.eye(n).repeat(batch, 1, 1)
    for layer in layers:
        weighted = (gradients[layer] * patterns[layer]).clamp(min=0).mean(dim=1).detach()
        relevance = relevance + weighted @ relevance
    return relevance


@pytest.mark.parametrize("layers", ["all", 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_decoders_relevance_is_the_rules(family: str, layers: Any) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    probe = AttentionRelevance(FOR, AGAINST, layers=layers)
    found = vlm.run(inputs, probe)[probe]
    output = eager(family)(**inputs, position_ids=position_ids(inputs.attention_mask), output_attentions=True)
    answer = (output.logits[:, -1, FOR] - output.logits[:, -1, AGAINST]).sum()
    expected = carried(answer, output.attentions, range(2) if layers == "all" else [layers])[:, -1]
    np.testing.assert_allclose(found.signed, expected, atol=1e-5 * float(expected.max()))
    image = list(inputs.layout.image_span(0, 1).patch_positions)
    np.testing.assert_array_equal(found.map(row=1).ravel(), found.signed[1, image])
    assert all(parameter.grad is None for parameter in vlm.parameters())
    assert not found.signed[1][~inputs.attention_mask[1].bool().numpy()].any()


def test_clips_relevance_is_the_rules() -> None:
    checkpoint = new_clip()
    clip = HookedCLIP.from_hf(checkpoint)
    inputs = {"input_ids": torch.arange(300, 312).view(2, 6), "pixel_values": random_pixels(3)}
    probe = AttentionRelevance(1, tower="vision")
    found = clip.run(inputs, probe)[probe]
    plain = new_clip()
    plain.set_attn_implementation("eager")
    output = plain(**inputs, output_attentions=True)
    patterns = output.vision_model_output.attentions
    expected = carried(output.logits_per_image[:, 1].sum(), patterns, range(len(patterns)))[:, 0]
    np.testing.assert_allclose(found.signed, expected, atol=1e-5 * float(expected.max()))
    np.testing.assert_array_equal(found.map(row=2).ravel(), found.signed[2, 1:])
    assert found.plot(row=2).data


def test_a_preceding_knockout_leaves_no_relevance_to_the_picture() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    probe = AttentionRelevance(FOR)
    knockout = AttentionKnockout(Except("all", but="image"), "image")
    assert vlm.run(inputs, probe)[probe].map().max() > 0
    assert vlm.run(inputs, knockout, probe)[probe].map().max() == 0


def test_frozen_weights_make_no_difference() -> None:
    vlm = tiny_vlm()
    inputs, probe = tiny_inputs(vlm), AttentionRelevance(FOR)
    expected = vlm.run(inputs, probe)[probe].signed
    try:
        vlm.requires_grad_(False)
        with torch.inference_mode():
            found = vlm.run(inputs, probe)[probe].signed
    finally:
        vlm.requires_grad_(True)
    np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_meant_is_refused() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    with pytest.raises(HookError, match="HookedCLIP"):
        vlm.run(inputs, AttentionRelevance(FOR, tower="vision"))
    with pytest.raises(EmptySelectionError, match="layers from 0 to 1"):
        vlm.run(inputs, AttentionRelevance(FOR, layers=7))
    with pytest.raises(InputError, match="an id from 0"):
        vlm.run(inputs, AttentionRelevance(-1))
    clip = HookedCLIP.from_hf(new_clip())
    texts = {"input_ids": torch.arange(300, 312).view(2, 6), "pixel_values": random_pixels(1)}
    with pytest.raises(InputError, match="the number of a text, 0 to 1"):
        clip.run(texts, AttentionRelevance(2, tower="vision"))

"""Register tokens are the patches that plain loops find, and their regions can be acted on at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import new_mapping, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE, N_PATCHES, new_clip, random_pixels
from vlm_lens import AttentionKnockout, HookedCLIP, RegisterTokens
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError


def hooked(module: Any, run: Callable[[], Any]) -> Tensor:
    """What a module of the checkpoint gives."""
    kept: list[Any] = []
    handle = module.register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.no_grad():
        run()
    handle.remove()
    return kept[0][0] if isinstance(kept[0], tuple) else kept[0]


def registers_of(vectors: Tensor, n_std: float) -> tuple[list[set[int]], list[float]]:
    """For each picture the patches, and the threshold, from one vector a patch, one number at a time."""
    found, thresholds = [], []
    for picture in vectors.double().numpy():
        norms = [sum(value**2 for value in vector) ** 0.5 for vector in picture]
        mean = sum(norms) / len(norms)
        variance = sum((norm - mean) ** 2 for norm in norms) / (len(norms) - 1)
        thresholds.append(mean + n_std * variance**0.5)
        found.append({patch for patch, norm in enumerate(norms) if norm > thresholds[-1]})
    return found, thresholds


@pytest.mark.parametrize(
    "hook, part, n_class_tokens",
    [
        ("projector.hook_out", lambda hf: hf.model.multi_modal_projector, 0),
        ("vision.blocks.0.hook_resid_post", lambda hf: hf.model.vision_tower.encoder.layers[0], 1),
    ],
)
@pytest.mark.parametrize("n_std", [0.5, 1.0, 5.0])
def test_registers_equal_plain_loops(hook: str, part: Any, n_class_tokens: int, n_std: float) -> None:
    vlm, hf = tiny_vlm(), tiny_checkpoint()
    inputs = tiny_inputs(vlm)
    mapping = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    vectors = hooked(part(hf), lambda: hf(**mapping)).view(2, N_PATCHES + n_class_tokens, -1)
    expected, thresholds = registers_of(vectors[:, n_class_tokens:], n_std)
    registers = RegisterTokens(n_std, hook)
    reading = vlm.run(inputs, registers)[registers]
    assert [set(region) for region in reading.regions] == expected
    np.testing.assert_allclose(reading.thresholds, thresholds, rtol=1e-5)
    assert any(expected) == (n_std < 5)
    assert [(region.row, region.image) for region in reading.regions] == [(0, 0), (1, 0)]


def test_the_decoders_patches_are_found_in_their_rows() -> None:
    vlm, hf = tiny_vlm(), tiny_checkpoint()
    inputs = vlm.as_inputs(new_mapping(hf, [(2, IMAGE, 3, IMAGE, 2), (1, IMAGE, 4)]))
    mapping = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    is_real = mapping["attention_mask"].bool()
    position_ids = (is_real.long().cumsum(dim=1) - 1).clamp(min=0)
    stream = hooked(hf.model.language_model.layers[0], lambda: hf(**mapping, position_ids=position_ids))
    registers = RegisterTokens(1.0, "blocks.0.hook_resid_post")
    generated = vlm.generate(inputs, registers, max_new_tokens=3, eos_token_id=())[registers]
    places = [(0, 0), (0, 1), (1, 0)]
    for number, (row, image) in enumerate(places):
        span = inputs.layout.image_span(image, row)
        expected, _ = registers_of(stream[row : row + 1, span.start : span.stop], 1.0)
        assert set(generated.region(image, row)) == expected[0]
        assert generated.regions[number] == generated.region(image, row)


def test_the_regions_are_keys_in_both_towers() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    registers = RegisterTokens(1.0)
    regions = vlm.run(inputs, registers)[registers].regions
    assert all(regions)
    cuts = [AttentionKnockout("last", regions), AttentionKnockout("cls", regions, tower="vision")]
    logits, cache = vlm.run_with_cache(inputs)
    run = vlm.run(inputs, *cuts, names_filter=lambda name: name.endswith("hook_pattern"))
    assert run.cache is not None and not torch.equal(run.logits, logits)
    for row, region in enumerate(regions):
        last = inputs.layout.positions("last", row)[0]
        assert bool((run.cache["blocks.0.attn.hook_pattern"][row, :, last, list(region.positions)] == 0).all())
        patches = list(region.vision_positions(has_class_token=True))
        assert bool((run.cache["vision.blocks.0.attn.hook_pattern"][row, :, 0, patches] == 0).all())


def test_clips_pixels_alone_give_regions_that_can_be_used() -> None:
    clip, pixels = HookedCLIP.from_hf(new_clip()), random_pixels(2)
    registers = RegisterTokens(1.0, "vision.blocks.1.hook_resid_post")
    texts = torch.tensor([[1, 30, 40, 499]])
    given = {"pixel_values": pixels, "input_ids": texts}
    reading = clip.run(given, registers)[registers]
    assert all(reading.regions)
    cut = AttentionKnockout("cls", reading.regions, tower="vision")
    assert not torch.equal(clip.run(given, cut).logits, clip.run(given).logits)


def test_reading_changes_no_bit_and_a_picture_without_registers_is_a_result() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    registers = RegisterTokens(50.0)
    run = vlm.run(inputs, registers)
    assert torch.equal(run.logits, vlm.run(inputs).logits)
    assert [len(region) for region in run[registers].regions] == [0, 0]
    skipped = AttentionKnockout("last", run[registers].regions, on_empty="skip")
    assert torch.equal(vlm.run(inputs, skipped).logits, run.logits)
    with pytest.raises(EmptySelectionError):
        vlm.run(inputs, AttentionKnockout("last", run[registers].regions))


def test_frame_and_figure_show_every_patch() -> None:
    vlm = tiny_vlm()
    inputs, registers = tiny_inputs(vlm), RegisterTokens(1.0)
    reading = vlm.run(inputs, registers)[registers]
    frame = reading.to_dataframe()
    assert len(frame) == 2 * N_PATCHES
    assert ((frame.norm > frame.threshold) == frame.is_register).all()
    figure = reading.plot(row=1)
    np.testing.assert_allclose(figure.data[0].z, reading.norms[1])
    assert f"{len(reading.region(row=1))} of {N_PATCHES} patches" in figure.layout.annotations[0].text
    assert "1 standard deviations" in repr(reading) and "threshold" in reading._repr_html_()
    with pytest.raises(PositionError, match="Picture does not exist"):
        reading.region(image=1)


@pytest.mark.parametrize(
    "hook, message",
    [
        ("vision.blocks.*.hook_resid_post", "one hook, got 3"),
        ("vision.blocks.0.attn.hook_z", "one vector for each patch"),
        ("vision.blocks.0.attn.hook_pattern", "one vector for each patch"),
        ("projector.hook_outt", "Did you mean 'projector.hook_out'"),
    ],
)
def test_hooks_without_a_vector_for_each_patch_are_refused(hook: str, message: str) -> None:
    vlm = tiny_vlm()
    with pytest.raises(HookError, match=message):
        vlm.run(tiny_inputs(vlm), RegisterTokens(hook=hook))


def test_text_alone_is_refused_or_skipped() -> None:
    vlm = tiny_vlm()
    tokens = torch.tensor([[1, 300, 301]])
    for hook in ("projector.hook_out", "blocks.0.hook_resid_post"):
        with pytest.raises(EmptySelectionError, match="without pictures|a picture, got text alone"):
            vlm.run(tokens, RegisterTokens(hook=hook))
    registers = RegisterTokens(on_empty="skip")
    assert vlm.run(tokens, registers)[registers] is None
    with pytest.raises(InputError, match="finite"):
        RegisterTokens(float("nan"))

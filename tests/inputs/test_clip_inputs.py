"""Pictures and texts for CLIP: what the processor makes of them, with regions that speak of the same patches."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from tests.tiny_models import new_clip
from vlm_lens import AttentionKnockout, HookedCLIP
from vlm_lens.demo import clip_folder
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import InputError, PositionError
from vlm_lens.inputs import ClipInputs

TEXTS = ["a photo of a cat.", "a photo of a purple boat."]


@cache
def clip() -> HookedCLIP:
    return HookedCLIP.demo()


@cache
def pictures() -> list[Image.Image]:
    """The second is wide, so that its sides are cropped away."""
    first, second, third = (Image.fromarray(one.scene.image) for one in example_scenes()[:3])
    wide = Image.new("RGB", (320, 192), "white")
    wide.paste(second, (64, 0))
    return [first, wide, third]


@cache
def inputs() -> ClipInputs:
    return clip().prepare(pictures(), TEXTS)


def test_prepare_gives_what_the_processor_gives() -> None:
    processor = CLIPProcessor.from_pretrained(clip_folder())
    expected = processor(images=pictures(), text=TEXTS, padding=True, return_tensors="pt")
    assert set(inputs()) == set(expected)
    for name, value in expected.items():
        assert torch.equal(inputs()[name], value)


def test_the_model_says_what_transformers_says() -> None:
    model = CLIPModel.from_pretrained(clip_folder(), dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(**inputs()).logits_per_image
        torch.testing.assert_close(clip()(inputs()), expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(clip().run(inputs()).logits, clip()(inputs()))


def test_pictures_without_texts_give_their_vectors() -> None:
    alone = clip().prepare(pictures())
    with torch.no_grad():
        assert torch.equal(clip()(alone), clip().encode_image(inputs().pixel_values))
    assert list(alone) == ["pixel_values"]


def test_a_region_holds_the_patches_that_saw_the_mask() -> None:
    """The wide picture loses 64 columns on either side; of what is left, 16 pixels go to each of 12 patches."""
    mask = np.zeros((192, 320), dtype=bool)
    mask[0:16, 64 + 32 : 64 + 64] = True
    mask[:, :64] = True  # cropped away
    region = inputs().region(mask, image=1)
    assert sorted(region.patch_ids) == [2, 3]
    assert (region.row, region.image) == (1, 0)
    mask[16:17, 100] = True
    assert sorted(inputs().region(mask, image=-2, threshold=0.5).patch_ids) == [2, 3]
    assert sorted(inputs().patches(rows=0, cols=[2, 3], image=1).patch_ids) == [2, 3]


def test_a_region_counts_in_its_own_picture_alone() -> None:
    region = inputs().patches(rows=0, image=1)
    mask = inputs().pictures.with_class_tokens(1).mask(region)
    assert mask[1].nonzero().flatten().tolist() == list(range(1, 13))
    assert not mask[0].any() and not mask[2].any()


def test_a_knockout_changes_the_pictures_that_it_names_and_no_other() -> None:
    region = inputs().region(example_scenes()[0].subject.mask)
    knockout = AttentionKnockout("cls", region, tower="vision")
    cut, whole = clip().run(inputs(), knockout).logits, clip().run(inputs()).logits
    assert not torch.equal(cut[0], whole[0])
    torch.testing.assert_close(cut[1:], whole[1:], atol=1e-5, rtol=1e-5)


def test_regions_of_other_inputs_are_refused() -> None:
    other = clip().prepare(pictures()[2]).patches(rows=0)
    with pytest.raises(PositionError, match="another picture"):
        clip().run(inputs(), AttentionKnockout("cls", other, tower="vision"))


def test_candidates_are_the_vectors_of_the_texts_and_call_no_hook() -> None:
    expected = clip().encode_text(inputs()["input_ids"], inputs()["attention_mask"])

    def fail(activation: Any, hook: Any) -> None:
        raise AssertionError(hook.name)

    with clip().hooks(fwd_hooks=[("text.blocks.0.hook_resid_post", fail), ("hook_text_embed", fail)]):
        candidates = clip().candidates(TEXTS, batch_size=1)
        with pytest.raises(AssertionError):
            clip()(inputs())
    assert candidates.names == tuple(TEXTS)
    torch.testing.assert_close(candidates.vectors, expected, atol=1e-5, rtol=1e-5)
    assert not clip().hook_dict["hook_text_embed"]._forward_hooks


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: clip().prepare([]), InputError, "Pictures cannot be prepared: expected at least one"),
        (lambda: inputs().region(np.ones((192, 192)), image=3), PositionError, "one of 3 pictures, got image=3"),
        (lambda: inputs().region(np.ones((192, 192)), image=1), InputError, "192 x 320"),
        (lambda: clip().candidates([]), InputError, "Candidates: expected at least one text"),
        (lambda: clip().candidates(TEXTS, names=["a"]), InputError, "a name for each of 2 vectors"),
        (lambda: clip().candidates([*TEXTS, TEXTS[0]]), InputError, "each name once"),
        (lambda: HookedCLIP.from_hf(new_clip()).prepare(pictures()), InputError, "without one"),
        (lambda: HookedCLIP.from_hf(new_clip()).candidates(TEXTS), InputError, "without one"),
        (lambda: clip()({"pixel_values": inputs().pixel_values}), InputError, "no input_ids"),
    ],
)
def test_what_cannot_be_prepared_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()

"""The bundled checkpoints against `transformers`, which reads the same folders: logits, greedy text, similarities."""

from functools import cache
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoProcessor,
    CLIPModel,
    CLIPProcessor,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from tests.tiny_models import position_ids, real
from vlm_lens import HookedCLIP, HookedVLM
from vlm_lens.demo import clip_folder, vlm_folder
from vlm_lens.demo.examples import example_scenes
from vlm_lens.demo.scenes import KINDS
from vlm_lens.demo.text import photo_of

N_STEPS = 50
TOLERANCE = 1e-4  # of the largest logit
QUESTIONS = ("Is there a cat in this image?", "What is on the table?", "Describe this image.")


@cache
def checkpoint() -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(vlm_folder(), dtype=torch.float32).eval()


@cache
def vlm() -> HookedVLM:
    return HookedVLM.demo()


def pictures() -> list[Image.Image]:
    return [Image.fromarray(example.scene.image) for example in example_scenes()]


@cache
def prompts() -> dict[str, Tensor]:
    """A picture and a question a row, as the checkpoint's own processor and chat template prepare them."""
    processor: LlavaProcessor = AutoProcessor.from_pretrained(vlm_folder())
    texts = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True,
        )
        for question in QUESTIONS
    ]
    images = pictures()[: len(QUESTIONS)]
    inputs = processor(images=images, text=texts, padding=True, return_tensors="pt")
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}


@cache
def generated() -> Any:
    """Greedy continuations by `transformers`, whatever ends a text ignored."""
    return checkpoint().generate(
        **prompts(),
        max_new_tokens=N_STEPS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=checkpoint().generation_config.pad_token_id,
        output_logits=True,
        return_dict_in_generate=True,
    )


def test_rows_are_padded_on_the_left() -> None:
    mask = prompts()["attention_mask"]
    assert mask[:, -1].all() and not mask[:, 0].all()
    assert mask.sum(dim=1).unique().numel() == len(QUESTIONS)


def test_pictures_and_questions_are_prepared_as_its_own_processor_prepares_them() -> None:
    ours = vlm().prepare(pictures()[: len(QUESTIONS)], list(QUESTIONS))
    for name, expected in prompts().items():
        assert torch.equal(getattr(ours, name), expected), name


def test_logits_are_equal_to_the_bit() -> None:
    inputs = prompts()
    mask = inputs["attention_mask"]
    with torch.no_grad():
        expected = checkpoint()(**inputs, position_ids=position_ids(mask)).logits
        found = vlm()(inputs)
    assert torch.equal(real(found, mask), real(expected, mask))


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_greedy_tokens_and_logits_are_those_of_transformers(use_cache: bool) -> None:
    expected = generated()
    run = vlm().generate(prompts(), max_new_tokens=N_STEPS, eos_token_id=(), use_cache=use_cache)
    assert run.tokens.shape == (len(QUESTIONS), N_STEPS)
    assert torch.equal(run.tokens, expected.sequences[:, -N_STEPS:])
    for ours, theirs in zip(run.logits.unbind(dim=1), expected.logits, strict=True):
        assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def test_the_texts_differ_and_go_on() -> None:
    """A text that repeats one token would prove little."""
    texts = generated().sequences[:, -N_STEPS:]
    assert all(not torch.equal(texts[i], texts[j]) for i in range(len(texts)) for j in range(i))
    assert texts[QUESTIONS.index("Describe this image.")].unique().numel() > 15


def test_clip_has_the_similarities_of_transformers() -> None:
    model = CLIPModel.from_pretrained(clip_folder(), dtype=torch.float32).eval()
    processor = CLIPProcessor.from_pretrained(clip_folder())
    texts = [photo_of(kind) for kind in KINDS]
    inputs = processor(images=pictures(), text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits_per_image
        found = HookedCLIP.demo()(inputs)
    assert found.shape == (len(pictures()), len(KINDS))
    assert expected.std() > 0.05 * expected.abs().max(), "similarities that hardly vary would prove little"
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()

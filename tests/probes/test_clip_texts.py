"""CLIP's texts: one is no list of letters, each is encoded once, and what is explained must be among them."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vlm_lens import AttentionRelevance, GradientTimesInput, HookedCLIP, IntegratedGradients, LogitLens
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import HookError, InputError, PositionError, VlmLensError

TEXTS = ["a photo of a cat.", "a photo of a dog."]
AT_PIXELS = "vision.hook_embed"


@cache
def clip() -> HookedCLIP:
    return HookedCLIP.demo()


@cache
def pictures() -> list[Image.Image]:
    return [Image.fromarray(one.scene.image) for one in example_scenes()[:2]]


MEASURES = [
    lambda target: AttentionRelevance(target, tower="vision"),
    lambda target: GradientTimesInput(target, hook=AT_PIXELS),
    lambda target: IntegratedGradients(target, hook=AT_PIXELS, n_steps=2),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "texts, target, error, message",
    [
        (None, 0, InputError, "pictures and texts, whose similarity is explained.*prepare"),
        (None, None, InputError, "pictures and texts"),
        (TEXTS, "a photo of a cow.", InputError, "the number of a text, 0 to 1, or one of 'a photo of a cat.'"),
        (TEXTS, 2, InputError, "the number of a text, 0 to 1"),
        (TEXTS, True, InputError, "the number of a text"),
        (TEXTS, {1: 0}, PositionError, r"one for each picture from 0 to 1, got pictures \[1\]"),
    ],
)
def test_what_is_no_text_is_not_explained(
    measure: Any, texts: Any, target: Any, error: type[VlmLensError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = clip().prepare(pictures(), texts)
    monkeypatch.setattr(clip().vision.blocks[0], "forward", lambda *_, **__: pytest.fail("the model was run"))
    with pytest.raises(error, match=message):
        clip().run(inputs, measure(target))


def test_texts_are_explained_by_name_number_and_picture() -> None:
    inputs = clip().prepare(pictures(), TEXTS)
    by_picture, by_name = GradientTimesInput({0: TEXTS[1], 1: 0}, hook=AT_PIXELS), GradientTimesInput(0, hook=AT_PIXELS)
    run = clip().run(inputs, by_picture, by_name)
    np.testing.assert_allclose(run[by_picture].answer, [run.logits[0, 1], run.logits[1, 0]], rtol=1e-5)
    np.testing.assert_allclose(run[by_name].answer, run.logits[:, 0], rtol=1e-5)


def test_the_hook_that_a_vlm_alone_has_is_answered_by_one_that_there_is() -> None:
    with pytest.raises(HookError, match=r"Name one: hook='vision\.blocks\.0\.hook_resid_post'") as caught:
        clip().run(clip().prepare(pictures(), TEXTS), GradientTimesInput(0))
    hook = caught.value.advice.split("'")[1]
    probe = GradientTimesInput(0, hook=hook)
    assert clip().run(clip().prepare(pictures(), TEXTS), probe)[probe].signed.any()


def test_one_text_is_one_text() -> None:
    one = clip().candidates("dog", names="a dog")
    assert one.names == ("a dog",) and clip().candidates("dog").names == ("dog",)
    assert torch.equal(one.vectors, clip().candidates(["dog"]).vectors)
    lens = LogitLens(tower="vision", candidates="dog", positions="cls", layers=-1)
    assert clip().run(clip().prepare(pictures()), lens)[lens].top.tokens.ravel().tolist() == ["dog", "dog"]
    assert clip().zero_shot(pictures(), "cat").tolist() == [[1.0], [1.0]]


def test_texts_are_encoded_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = clip().encode_text

    def counting(tokens: Tensor, mask: Tensor) -> Tensor:
        encoded.append(len(tokens))
        return encode(tokens, mask)

    monkeypatch.setattr(clip(), "encode_text", counting)
    lens = LogitLens(tower="vision", candidates=TEXTS, targets=TEXTS)
    clip().run(clip().prepare(pictures()), lens)[lens]
    assert encoded == [len(TEXTS)]


def test_texts_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="at least one text, got none"):
        clip().prepare(pictures(), [])
    with pytest.raises(InputError, match=r"at most \d+ tokens, got \d+ for 'a cat a cat"):
        clip().prepare(pictures(), ["short", "a cat " * 30])
    with pytest.raises(InputError, match="longer than the text tower reads"):
        clip().candidates("a cat " * 30)


def test_a_clip_says_what_it_is() -> None:
    assert repr(clip()).startswith("HookedCLIP(6 vision layers of 4 heads, 3 text layers")

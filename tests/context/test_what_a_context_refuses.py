"""What cannot be compressed, and what a compressed context cannot be asked: told clearly, and at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import AttentionKnockout, HookedVLM, Inputs
from vlm_lens.context import ReadPrompt
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import EmptySelectionError, HookError, InputError, VlmLensError

QUESTION = "Is there a cat in this image?"


def one_row(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm).row(0)


def new_tokens(n: int = 5, rows: int = 1) -> Tensor:
    return torch.randint(300, 500, (rows, n), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda vlm, one: vlm.compress(one, keep=1.5), InputError, "keep: expected a share from 0 to 1, got 1.5"),
        (lambda vlm, one: vlm.compress(one, keep=0.001), InputError, "keep leaves no image token"),
        (lambda vlm, one: vlm.compress(one, variant="text"), InputError, "variant: expected one of both, query, image"),
        (lambda vlm, one: vlm.compress(one, order="best"), InputError, "order: expected one of top, bottom, random"),
        (lambda vlm, one: vlm.compress("text alone"), InputError, "Picture"),
        (lambda vlm, one: vlm.compress(vlm.prompts_of("A cat")), InputError, "Nothing to compress"),
        (lambda vlm, one: vlm.compress(one, prompt="Why?", template="nope"), InputError, "Unknown template"),
        (lambda vlm, one: vlm.compress(one, max_new_tokens=2000), InputError, "Generation exceeds the context"),
        (lambda vlm, one: vlm.compress(one, AttentionKnockout("last", "system")), EmptySelectionError, "keys of"),
    ],
)
def test_what_cannot_be_compressed_is_refused(
    demo: HookedVLM, read: ReadPrompt, call: Callable[..., Any], error: type[VlmLensError], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(demo, read.inputs)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda context: context.ask(" "), InputError, "expected words without <image>, got ' '"),
        (lambda context: context.ask([]), InputError, "expected at least one token"),
        (lambda context: context.ask("<image> Why?"), InputError, "expected words without <image>"),
        (lambda context: context.logits("<image>"), InputError, "expected words without <image>"),
        (lambda context: context.logits(torch.tensor([4])), InputError, "expected text alone, got an image token"),
        (lambda context: context.ask("Why?", max_new_tokens=0), InputError, "max_new_tokens: expected at least 1"),
        (lambda context: context.ask("Why?", max_new_tokens=1000), InputError, "longer than the model's.* got 155"),
        (lambda context: context.ask("Why?", temperature=0.0), InputError, "temperature"),
        (lambda context: context.ask("Why?", AttentionKnockout("last", "image")), HookError, "by TopKContext"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    read: ReadPrompt, call: Callable[..., Any], error: type[VlmLensError], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(read.compressed(0.05))


def test_what_is_attached_to_the_model_cannot_stand_in_a_context(demo: HookedVLM, read: ReadPrompt) -> None:
    context = read.compressed(0.05)
    with (
        demo.attach(AttentionKnockout("last", "image")),
        pytest.raises(HookError, match="cannot stand in a compressed context"),
    ):
        context.ask(QUESTION)
    assert context.ask(QUESTION).text == "Yes"


def test_rows_windows_and_pixels_alone_are_refused() -> None:
    vlm = tiny_vlm()
    with pytest.raises(InputError, match=r"A batch cannot be compressed at once: expected one row, got 2 rows"):
        vlm.compress(tiny_inputs(vlm))
    with pytest.raises(InputError, match="Prompt cannot be changed: expected inputs with the pictures as opened"):
        vlm.compress(one_row(vlm), prompt="Why?")
    with pytest.raises(InputError, match="Question cannot be written: expected a model with a processor"):
        vlm.compress(one_row(vlm), keep=0.25, max_new_tokens=2).ask("Why?")
    windowed = tiny_vlm("sliding window")
    with pytest.raises(InputError, match="Compressed context in a sliding window: expected at most 6 positions"):
        windowed.compress(one_row(windowed), keep=0.25, max_new_tokens=2)
    with pytest.raises(EmptySelectionError, match="Compressed context: expected at least one position"):
        vlm.compress(one_row(vlm), keep=0.0, variant="image", keeps_bos=False, max_new_tokens=2)


def test_a_knockout_of_the_picture_leaves_nothing_to_rank() -> None:
    vlm = tiny_vlm()
    inputs, options = one_row(vlm), dict(keep=0.5, max_new_tokens=2)
    everywhere, one_layer = AttentionKnockout("predicting", "image"), AttentionKnockout("predicting", "image", layers=1)
    with pytest.raises(InputError, match="Nothing ranks the image tokens.*none in layers 0, 1.*order='random'"):
        vlm.compress(inputs, everywhere, **options)
    with pytest.raises(InputError, match="none in layer 1"):
        vlm.compress(inputs, one_layer, **options)
    for allowed in (dict(order="random"), dict(keep=1.0), dict(keep=0.0), dict(variant="query")):
        vlm.compress(inputs, everywhere, **{**options, **allowed})


@pytest.mark.parametrize(
    "text, message",
    [
        ([1, 2, 3], r"a text, several, or a tensor of tokens, got \[1, 2, 3\]"),
        (torch.tensor([1.0, 2.0]), r"integers \[pos\] or \[batch pos\], got torch.float32"),
        (torch.tensor([True]), "integers"),
        (torch.zeros(1, 0, dtype=torch.long), "integers"),
        (torch.zeros(1, 1, 1, dtype=torch.long), "integers"),
        (torch.tensor([5, 500]), "ids from 0 to 499, got from 5 to 500"),
        (torch.tensor([-1]), "ids from 0 to 499"),
        ([], "at least one token"),
    ],
)
def test_what_is_no_new_text_is_refused(text: Any, message: str) -> None:
    vlm = tiny_vlm()
    context = vlm.compress(one_row(vlm), keep=0.5, max_new_tokens=2)
    if not isinstance(text, Tensor):  # words need a processor
        context = HookedVLM.demo().compress(example_scenes()[0].scene.image, max_new_tokens=1)
    with pytest.raises(InputError, match=message):
        context.logits(text)
    if not isinstance(text, Tensor):
        return
    whole = new_tokens()
    torch.testing.assert_close(context.logits(whole[0].int()), context.logits(whole))


def test_options_that_ask_does_not_have_are_said() -> None:
    vlm = HookedVLM.demo()
    picture = example_scenes()[0].scene.image
    context = vlm.compress(picture, keep=0.1, max_new_tokens=2)
    with pytest.raises(InputError, match="Options of ask: expected some of do_sample, temperature.*got stop_at"):
        context.ask(QUESTION, stop_at=3)

"""What cannot be meant is refused with an error that says what was wrong, before anything of the model has run."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE, new_clip, random_pixels
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import AttentionKnockout, Except, HookedCLIP, HookedVLM, Inputs
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import EmptySelectionError, HookError, PositionError, VlmLensError


@cache
def model() -> HookedVLM:
    return tiny_vlm()


@cache
def inputs() -> Inputs:
    """24 positions; the picture of row 0 stands at 2 to 17, that of row 1, padded by 3, at 4 to 19."""
    return tiny_inputs(model())


def object_in(given: Inputs, row: int = 0) -> Any:
    return given.layout.patches(rows=0, row=row)


def another_prompt() -> Inputs:
    """The same pictures, elsewhere in the sequence."""
    return model().as_inputs(new_mapping(tiny_checkpoint(), [(3, IMAGE, 5), (1, IMAGE, 4)]))


def refused(use: Callable[[], Any], error: type[VlmLensError], message: str) -> None:
    """The use raises this error, and no hook of the model has fired by then."""
    fired: list[str] = []
    names = lambda name: True  # noqa: E731
    with (
        model().hooks(fwd_hooks=[(names, lambda activation, hook: fired.append(str(hook.name)))]),
        pytest.raises(error, match=message) as told,
    ):
        use()
    assert type(told.value) is error
    assert fired == []


REFUSED = {
    # Positions.
    "a region of another picture": (
        lambda: AttentionKnockout("last", object_in(tiny_inputs(model(), seed=5))), PositionError, "another picture",
    ),
    "a region of another picture, in the tower": (
        lambda: AttentionKnockout("cls", object_in(tiny_inputs(model(), seed=5)), tower="vision"), PositionError,
        "keys of .*another picture",
    ),
    "a region of another prompt of the same picture": (
        lambda: AttentionKnockout("last", object_in(another_prompt())), PositionError,
        r"another picture or layout.*region\.on",
    ),
    "a row that the batch has not": (
        lambda: AttentionKnockout({2: "last"}, "image"), PositionError, "queries of .*expected rows from 0 to 1",
    ),
    "a row that the batch has not, further in": (
        lambda: AttentionKnockout("last", Except("image", but={5: "all"})), PositionError, "keys of .*rows from 0 to 1",
    ),
    "generated positions in a plain run": (
        lambda: AttentionKnockout("generated", "image"), EmptySelectionError, "exist under generate alone",
    ),
    "a position beyond the prompt": (
        lambda: AttentionKnockout(24, "image"), PositionError, r"queries of .*-24 <= position < 24, got 24",
    ),
    "a position that is a fraction": (lambda: AttentionKnockout("last", [3.0]), PositionError, "keys of .*float 3.0"),
    "nothing": (lambda: AttentionKnockout("last", [None]), PositionError, "NoneType"),
    "no positions": (lambda: AttentionKnockout([], "image"), EmptySelectionError, "queries of .*got none"),
    "a mask over patches": (
        lambda: AttentionKnockout("last", object_in(inputs()).patches), PositionError, r"got \[4, 4\].*layout.patches",
    ),
    "a mask of the tower's length in the decoder": (
        lambda: AttentionKnockout("last", torch.ones(17, dtype=torch.bool)), PositionError, r"positions, got \[17\]",
    ),
    "a mask for a larger batch": (
        lambda: AttentionKnockout("last", torch.ones(3, 24, dtype=torch.bool)), PositionError, "with 2 rows",
    ),
    "a mask that became integers": (
        lambda: AttentionKnockout("last", np.arange(24) // 12), PositionError, "make it boolean",
    ),
    "the decoder's names in the tower": (
        lambda: AttentionKnockout("last", "patches", tower="vision"), PositionError, "name of positions of the decoder",
    ),
    "the tower's names in the decoder": (
        lambda: AttentionKnockout("last", "cls"), PositionError, "a name of positions of the vision tower",
    ),
    "a word": (lambda: AttentionKnockout("last", "cat"), PositionError, r"keys of .*layout.find\('cat'\)"),
    "a slice that reaches outside": (
        lambda: AttentionKnockout("last", slice(15, 300)), PositionError, "keys of .*bounds from -24 to 2.*300",
    ),
    "the decoder's numbers in the tower": (
        lambda: AttentionKnockout("cls", slice(2, 18), tower="vision"), PositionError, "a class token and 16 patches",
    ),
    "a misspelt name": (lambda: AttentionKnockout("last", "imgae"), PositionError, "Did you mean 'image'"),
    "keys after all queries": (lambda: AttentionKnockout("image", "last"), EmptySelectionError, "blocks nothing"),
    "padding": (lambda: AttentionKnockout("last", "pad"), EmptySelectionError, "blocks nothing"),
    # Layers.
    "a layer outside": (lambda: AttentionKnockout("last", "image", layers=2), EmptySelectionError, "0 to 1 .* got 2"),
    "a window that reaches outside": (
        lambda: AttentionKnockout("last", "image", layers=range(1, 5)), EmptySelectionError, "got 2, 3, 4",
    ),
    "a slice of layers that reaches outside": (
        lambda: AttentionKnockout("last", "image", layers=slice(1, 99)), EmptySelectionError, "bounds from -2 to 2",
    ),
    "a slice of layers from outside": (
        lambda: AttentionKnockout("last", "image", layers=slice(-3, None)), EmptySelectionError, r"slice\(-3, None",
    ),
    "all layers without all": (
        lambda: AttentionKnockout("last", "image", layers=Except("all", but=range(2))), EmptySelectionError, "none",
    ),
    "depths in a list": (
        lambda: AttentionKnockout("last", "image", layers=[0.5, 1.0]), HookError, "tuple of floats: \\(0.5, 1.0\\)",
    ),
    "a mask of layers": (lambda: AttentionKnockout("last", "image", layers=[True, False]), HookError, "got True"),
    "no layers": (lambda: AttentionKnockout("last", "image", layers=None), HookError, "range of layers.*got None"),
    "layers by a name": (lambda: AttentionKnockout("last", "image", layers="late"), HookError, "got 'late'"),
    # Heads.
    "a head outside": (lambda: AttentionKnockout("last", "image", heads=4), HookError, "heads from 0 to 3, got 4"),
    "a decoder's head in the tower": (
        lambda: AttentionKnockout("cls", "patches", heads=3, tower="vision"), HookError, "heads from 0 to 1, got 3",
    ),
    "no heads": (lambda: AttentionKnockout("last", "image", heads=[]), HookError, "heads from 0 to 3, got none"),
    "a mask of heads": (
        lambda: AttentionKnockout("last", "image", heads=np.array([True, False])), HookError, "range of heads",
    ),
    # Towers.
    "a tower that is not there": (
        lambda: AttentionKnockout("last", "image", tower="text"), HookError,
        "one of decoder, vision, got 'text'. Say which: tower='decoder' or tower='vision'",
    ),
    # Queries left alone.
    "nothing left to see": (
        lambda: AttentionKnockout("image", slice(0, 24)), HookError, "in layer 0 for query position 2, 3.* of row 0",
    ),
    "nothing left to see, in one head": (
        lambda: AttentionKnockout(0, 0, layers=1, heads=2), HookError, "none in layer 1 for query position 0 of row 0",
    ),
    "nothing left to see in the tower": (
        lambda: AttentionKnockout("cls", "all", tower="vision"), HookError, "none in layer 0 for query position 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_before_the_model_runs(case: str) -> None:
    build, error, message = REFUSED[case]
    knockout = build()

    def in_a_block() -> None:
        with model().attach(knockout):
            model()(inputs())

    refused(lambda: model().run(inputs(), knockout), error, message)
    refused(in_a_block, error, message)
    if "generated" not in case and "beyond" not in case:
        refused(lambda: model().generate(inputs(), knockout, max_new_tokens=4), error, message)


def test_two_knockouts_that_leave_nothing_together_are_refused() -> None:
    first, second = AttentionKnockout("last", "image"), AttentionKnockout("last", "text", heads=1)
    model().run(inputs(), first)
    model().run(inputs(), second)
    refused(lambda: model().run(inputs(), first, second), HookError, "with .*for query position 23 of row 0")


def test_a_query_to_come_that_would_see_nothing_is_refused_at_once() -> None:
    knockout = AttentionKnockout(25, slice(0, None))
    refused(lambda: model().generate(inputs(), knockout, max_new_tokens=4), HookError, "query position 25 of row 0")
    refused(
        lambda: model().generate(inputs(), AttentionKnockout(40, "image"), max_new_tokens=4),
        PositionError,
        "position < 27, got 40",
    )


def test_a_window_that_hides_the_rest_counts_as_nothing_to_see() -> None:
    vlm = tiny_vlm("sliding window")  # a query sees itself and the five before it
    knockout = AttentionKnockout("last", [-1, -2, -3, -4, -5, -6])
    with pytest.raises(HookError, match="every query to keep at least one key"):
        vlm.run(tiny_inputs(vlm), knockout)
    model().run(inputs(), knockout)


@pytest.mark.parametrize(
    "knockout",
    [AttentionKnockout("last", "image"), AttentionKnockout("cls", "patches", tower="vision")],
    ids=["decoder", "tower"],
)
def test_without_a_picture_there_is_nothing_to_block(knockout: AttentionKnockout) -> None:
    text = {"input_ids": inputs()["input_ids"][:, -4:]}
    refused(lambda: model().run(text, knockout), EmptySelectionError, "AttentionKnockout")
    skipped = AttentionKnockout(knockout.queries, knockout.keys, tower=knockout.tower, on_empty="skip")
    assert torch.equal(model().run(text, skipped).logits, model()(text))


def test_layers_that_a_run_leaves_out_are_refused() -> None:
    early, late = AttentionKnockout("last", "image", layers=0), AttentionKnockout("last", "image", layers=1)
    stream = model()(inputs(), stop_at_layer=1)
    refused(lambda: model().run(inputs(), late, stop_at_layer=1), EmptySelectionError, r"run of layers \[:1\]")
    refused(lambda: model().run(stream, early, start_at_layer=1), EmptySelectionError, r"run of layers \[1:\]")
    assert not torch.equal(model().run(inputs(), early, stop_at_layer=1).logits, stream)


def test_a_key_head_is_no_head_of_queries() -> None:
    # 4 heads of queries share 2 of keys: a knockout counts query heads, and 2 and 3 are heads like any other.
    run = model().run(inputs(), AttentionKnockout("last", "image", heads=3), names_filter="blocks.0.attn.hook_pattern")
    assert run.cache is not None
    seen = run.cache["blocks.0.attn.hook_pattern"][0, :, -1, 2:18].sum(dim=-1)
    assert seen[3] == 0 and bool((seen[:3] > 0).all())


def test_numbers_may_be_numpys_or_torchs() -> None:
    plain = model().run(inputs(), AttentionKnockout(-1, [2, 3], layers=[0, 1], heads=[1, 2])).logits
    for queries, keys, layers, heads in (
        (np.int64(-1), np.array([2, 3]), np.arange(2), np.array([1, 2])),
        (torch.tensor(-1), torch.tensor([2, 3]), torch.arange(2), torch.tensor([1, 2])),
        ("last", slice(2, 4), slice(None), slice(1, 3)),
        (23, {0: [2, 3], 1: (2, 3)}, range(-2, 0), range(1, 3)),
    ):
        run = model().run(inputs(), AttentionKnockout(queries, keys, layers=layers, heads=heads))
        assert torch.equal(run.logits, plain)


def test_a_row_without_a_picture_is_left_as_it_is() -> None:
    vlm = HookedVLM.demo()
    picture = Image.fromarray(example_scenes()[0].scene.image)
    both = vlm.prepare([picture, None], ["Is there a cat in this image?", "Is there a cat in this image?"])
    clean, blind = vlm(both), vlm.run(both, AttentionKnockout("last", "image")).logits
    assert torch.allclose(clean[1], blind[1], atol=1e-5) and not torch.allclose(clean[0], blind[0], atol=1e-2)
    with pytest.raises(PositionError, match="another picture"):
        vlm.run(both.row(1), AttentionKnockout("last", both.layout.patches(rows=0)))


def test_clip_refuses_as_the_vlm_does() -> None:
    clip = HookedCLIP.from_hf(new_clip())
    given = {"pixel_values": random_pixels(2), "input_ids": torch.tensor([[1, 300, 499]])}
    for knockout, message in (
        (AttentionKnockout("cls", "patches"), "one of vision, text, got 'decoder'"),
        (AttentionKnockout("cls", 17, tower="vision"), "position < 17, got 17"),
        (AttentionKnockout("cls", {2: "patches"}, tower="vision"), "rows from 0 to 1"),
        (AttentionKnockout("last", "image", tower="text"), "got none for 'image'"),
    ):
        with pytest.raises(VlmLensError, match=message):
            clip.run(given, knockout)

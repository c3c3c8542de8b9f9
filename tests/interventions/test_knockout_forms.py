"""Every form of knockout in the papers, in one line, against plain transformers with the edges listed one by one.

fp32: softmax and sums run in another order here and there, which moves logits by some 1e-6 of the largest; the bound
is 1e-5. Each form must also move the logits by a hundred times that.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import CLIPModel

from tests.interventions.plain_transformers import Plain
from tests.interventions.plain_transformers import edges as plain_edges
from tests.interventions.scenes_of_numbers import (
    FAMILIES,
    N_LAYERS,
    N_VISION_LAYERS,
    TARGETS,
    Blocks,
    blocked_edges,
    checkpoint,
    mapping,
    patch_mask,
    rows_of,
)
from tests.tiny_models import new_clip, random_pixels, real
from vlm_lens import AttentionKnockout, Except, HookedCLIP, HookedVLM, Inputs

TOLERANCE = 1e-5


class Scene(NamedTuple):
    """What a form may speak of: the object in each picture, and everything else in it."""

    cat: Any
    rest: Any


class Form(NamedTuple):
    """A knockout as a user writes it, and the same as plain numbers."""

    ours: Callable[[Scene], AttentionKnockout]
    blocks: Blocks
    layers: Iterable[int] = range(N_LAYERS)
    heads: Iterable[int] | None = None
    tower: str = "decoder"


LAST_OF = range(N_VISION_LAYERS - 3, N_VISION_LAYERS - 1)
FORMS = {
    # Visual information processing: from the object, its surroundings and the rest to the last position.
    "region to last": Form(lambda s: AttentionKnockout("last", s.cat), lambda r: [({r.last}, r.target)]),
    "everything but the object": Form(lambda s: AttentionKnockout("last", s.rest), lambda r: [({r.last}, r.rest)]),
    "region to last row": Form(lambda s: AttentionKnockout("last_row", s.cat), lambda r: [(r.bottom, r.target)]),
    "other rows to last row": Form(
        lambda s: AttentionKnockout("last_row", Except("image", but="last_row")),
        lambda r: [(r.bottom, r.everything - r.bottom)],
    ),
    "last row to last": Form(lambda s: AttentionKnockout("last", "last_row"), lambda r: [({r.last}, r.bottom)]),
    "inside a window": Form(
        lambda s: AttentionKnockout("last", s.cat, layers=range(1, 3)), lambda r: [({r.last}, r.target)], range(1, 3)
    ),
    "a window by depth": Form(
        lambda s: AttentionKnockout("last", s.cat, layers=(0.5, 1.0)), lambda r: [({r.last}, r.target)], [2, 3]
    ),
    # What's in the image: the whole picture to text and to what is generated.
    "image to query text": Form(
        lambda s: AttentionKnockout("prompt_text", "image"), lambda r: [(r.text, r.everything)]
    ),
    "image to query text without the last": Form(
        lambda s: AttentionKnockout(Except("prompt_text", but="last"), "image"),
        lambda r: [(r.text - {r.last}, r.everything)],
    ),
    "image to generated": Form(
        lambda s: AttentionKnockout("predicting", "image"), lambda r: [({r.last, *r.generated}, r.everything)]
    ),
    "image to both": Form(
        lambda s: AttentionKnockout(["prompt_text", "predicting"], "image"),
        lambda r: [(r.text | r.generated, r.everything)],
    ),
    "image to both, without the last prompt row": Form(
        lambda s: AttentionKnockout([Except("prompt_text", but="last"), "generated"], "image"),
        lambda r: [(r.text - {r.last} | r.generated, r.everything)],
    ),
    "from a layer on": Form(
        lambda s: AttentionKnockout("predicting", "image", layers=slice(2, None)),
        lambda r: [({r.last, *r.generated}, r.everything)],
        [2, 3],
    ),
    "outside a window": Form(
        lambda s: AttentionKnockout("predicting", "image", layers=Except("all", but=range(1, 3))),
        lambda r: [({r.last, *r.generated}, r.everything)],
        [0, 3],
    ),
    # Object part identification: the object's patches see nothing of the rest, in the tower and in the decoder.
    "tower, target against rest": Form(
        lambda s: AttentionKnockout(s.cat, s.rest, tower="vision", bidirectional=True),
        lambda r: [(r.seen, r.unseen), (r.unseen, r.seen)],
        range(N_VISION_LAYERS),
        tower="vision",
    ),
    "tower, the class token closed": Form(
        lambda s: AttentionKnockout(s.cat, Except("all", but=s.cat), tower="vision", bidirectional=True),
        lambda r: [(r.seen, r.unseen | r.cls), (r.unseen | r.cls, r.seen)],
        range(N_VISION_LAYERS),
        tower="vision",
    ),
    "tower, the last layers that matter": Form(
        lambda s: AttentionKnockout(s.cat, s.rest, layers=range(-3, -1), tower="vision", bidirectional=True),
        lambda r: [(r.seen, r.unseen), (r.unseen, r.seen)],
        LAST_OF,
        tower="vision",
    ),
    "class token and target only": Form(
        lambda s: AttentionKnockout(["cls", s.cat], s.rest, layers=slice(2, None), tower="vision"),
        lambda r: [(r.cls | r.seen, r.unseen)],
        range(2, N_VISION_LAYERS),
        tower="vision",
    ),
    "decoder, target against the rest before it": Form(
        lambda s: AttentionKnockout(s.cat, s.rest), lambda r: [(r.target, r.rest)]
    ),
    # Any of these head by head; positions as numbers and masks; row by row.
    "some heads": Form(
        lambda s: AttentionKnockout("last", s.cat, heads=[0, 3]), lambda r: [({r.last}, r.target)], heads=[0, 3]
    ),
    "one head of the tower": Form(
        lambda s: AttentionKnockout(s.cat, s.rest, heads=2, tower="vision"),
        lambda r: [(r.seen, r.unseen)],
        range(N_VISION_LAYERS),
        heads=[2],
        tower="vision",
    ),
    "one row alone": Form(
        lambda s: AttentionKnockout("last", {1: s.cat}), lambda r: [({r.last}, r.target)] if r.number == 1 else []
    ),
    "rows apart": Form(
        lambda s: AttentionKnockout({0: "last", 1: "prompt_text"}, {0: "image", 1: s.cat}),
        lambda r: [({r.last}, r.everything)] if r.number == 0 else [(r.text, r.target)],
    ),
    "positions by number": Form(
        lambda s: AttentionKnockout([-1, -2], slice(8, 12)), lambda r: [({r.last, r.last - 1}, range(8, 12))]
    ),
}


@cache
def scene_of(family: str) -> tuple[HookedVLM, dict[str, Tensor], Inputs, Scene]:
    vlm, given = HookedVLM.from_hf(checkpoint(family)), mapping(family)
    inputs = vlm.as_inputs(given)
    cats = [inputs.layout.patches(patch_mask(patches), row=row) for row, patches in enumerate(TARGETS)]
    return vlm, given, inputs, Scene(cats, [~cat for cat in cats])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_knockout_equals_the_edges_listed_one_by_one(form: Form, family: str) -> None:
    vlm, given, inputs, scene = scene_of(family)
    plain, rows = Plain(checkpoint(family)), rows_of(family, given)
    edges = blocked_edges(rows, form.blocks, form.layers, form.heads, form.tower)
    with torch.no_grad():
        run = vlm.run(inputs, form.ours(scene))
        slow, clean = (real(plain.logits(given, one), given["attention_mask"]) for one in (edges, ()))
    ours = real(run.logits, given["attention_mask"])
    largest = float(slow.abs().max())
    assert float((ours - slow).abs().max()) <= TOLERANCE * largest
    assert float((clean - slow).abs().max()) > 100 * TOLERANCE * largest, "this form would not show"


@pytest.mark.parametrize("family", ["grouped heads", "sliding window"])
@torch.no_grad()
def test_two_knockouts_together_block_the_edges_of_both(family: str) -> None:
    vlm, given, inputs, scene = scene_of(family)
    rows = rows_of(family, given)
    first = AttentionKnockout("last", scene.cat, heads=[0, 1])
    second = AttentionKnockout("prompt_text", "image", layers=[1, 2], heads=1)
    third = AttentionKnockout(scene.cat, scene.rest, tower="vision")
    edges = blocked_edges(rows, lambda r: [({r.last}, r.target)], range(N_LAYERS), [0, 1])
    edges |= blocked_edges(rows, lambda r: [(r.text, r.everything)], [1, 2], [1])
    edges |= blocked_edges(rows, lambda r: [(r.seen, r.unseen)], range(N_VISION_LAYERS), None, "vision")
    slow = real(Plain(checkpoint(family)).logits(given, edges), given["attention_mask"])
    orders = [(first, second, third), (third, second, first), (second, third, first, second)]
    runs = [real(vlm.run(inputs, *objects).logits, given["attention_mask"]) for objects in orders]
    assert float((runs[0] - slow).abs().max()) <= TOLERANCE * float(slow.abs().max())
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[0], runs[2])


@torch.no_grad()
def test_the_class_token_carries_the_rest_to_the_target_unless_closed() -> None:
    vlm, _, inputs, scene = scene_of("grouped heads")
    row = rows_of("grouped heads", mapping("grouped heads"))[0]
    features = "projector.hook_in"
    other = vlm.as_inputs({**mapping("grouped heads"), "pixel_values": inputs["pixel_values"].clone()})
    outside = next(patch for patch in range(16) if patch not in TARGETS[0])
    side = other["pixel_values"].shape[-1] // 4
    top, left = side * (outside // 4), side * (outside % 4)
    other["pixel_values"][0, :, top : top + side, left : left + side] += 1.0
    for keys, is_closed in ((scene.rest[0], False), (Except("all", but=scene.cat[0]), True)):
        knockout = AttentionKnockout(scene.cat[0], keys, tower="vision", bidirectional=True)
        here, there = (vlm.run(one, knockout, names_filter=features).cache for one in (inputs, other))
        assert here is not None and there is not None
        patches = [position - row.image[0] for position in sorted(row.target)]
        is_same = torch.equal(here[features][0, patches], there[features][0, patches])
        assert is_same == is_closed


def clip_pair() -> tuple[CLIPModel, HookedCLIP, dict[str, Tensor]]:
    checkpoint = new_clip()
    tokens = torch.tensor([[1, 300, 301, 499], [1, 320, 350, 499]])
    given = {"pixel_values": random_pixels(3), "input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return checkpoint, HookedCLIP.from_hf(checkpoint), given


@pytest.mark.parametrize("first", [0, 2, 3])
@torch.no_grad()
def test_the_focused_read_out_of_clip_sees_the_class_token_and_the_target(first: int) -> None:
    hf, clip, given = clip_pair()
    target = {6, 7, 10, 11}  # of 17 positions, the class token at 0
    knockout = AttentionKnockout(
        ["cls", list(target)], Except("patches", but=list(target)), slice(first, None), tower="vision"
    )
    rest = set(range(1, 17)) - target
    layers = range(first, clip.vision.cfg.n_layers)
    edges = {edge for row in range(3) for edge in plain_edges("vision", layers, range(4), row, {0} | target, rest)}
    slow = Plain(hf).image_embeds(given["pixel_values"], edges)
    with clip.attach(knockout):
        ours = clip.encode_image(given["pixel_values"])
    assert float((ours - slow).abs().max()) <= TOLERANCE * float(slow.abs().max())
    texts = torch.nn.functional.normalize(clip.encode_text(given["input_ids"]), dim=-1)
    similarity = torch.nn.functional.normalize(slow, dim=-1) @ texts.T * clip.logit_scale.exp()
    torch.testing.assert_close(clip.run(given, knockout).logits, similarity, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_clips_vector_of_the_target_alone_ignores_all_other_pixels() -> None:
    _, clip, given = clip_pair()
    target = [6, 7, 10, 11]
    knockout = AttentionKnockout(["cls", target], Except("patches", but=target), tower="vision")
    moved = given["pixel_values"].clone()
    moved[:, :, :7] += 1.0  # the first row of patches
    with clip.attach(knockout):
        assert torch.equal(clip.encode_image(given["pixel_values"]), clip.encode_image(moved))
    assert not torch.equal(clip.encode_image(given["pixel_values"]), clip.encode_image(moved))

"""The lens in CLIP's vision tower: every position's state as candidate texts, against `transformers`."""

from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel

from tests.tiny_models import new_clip
from vlm_lens import AttentionKnockout, HookedCLIP, HookedTransformer, LogitLens
from vlm_lens.demo import clip_folder
from vlm_lens.demo.examples import example_scenes
from vlm_lens.demo.scenes import KINDS, draw_scene
from vlm_lens.demo.text import photo_of
from vlm_lens.errors import EmptySelectionError, HookError, InputError
from vlm_lens.inputs import ClipInputs
from vlm_lens.model.candidates import Candidates

EXACT = 1e-6
TEXTS = [photo_of(kind) for kind in KINDS]


@cache
def clip() -> HookedCLIP:
    return HookedCLIP.demo()


@cache
def checkpoint() -> CLIPModel:
    return CLIPModel.from_pretrained(clip_folder(), dtype=torch.float32).eval()


@cache
def kinds() -> Candidates:
    return clip().candidates(TEXTS, names=KINDS)


@cache
def inputs() -> ClipInputs:
    return clip().prepare([Image.fromarray(one.scene.image) for one in example_scenes()])


@torch.no_grad()
def distributions(pixel_values: Tensor, blocked: Tensor | None = None, first_layer: int = 0) -> Tensor:
    """[state image pos kind] by `transformers`' own modules; blocked [image query key] get -inf from a layer on."""
    model, states = checkpoint(), []
    tower = model.vision_model
    state = tower.pre_layrnorm(tower.embeddings(pixel_values))
    states.append(state)
    for number, layer in enumerate(tower.encoder.layers):
        mask = None
        if blocked is not None and number >= first_layer:
            mask = torch.zeros(blocked.shape).masked_fill(blocked, -torch.inf)[:, None]
        out = layer(state, attention_mask=mask)
        state = out[0] if isinstance(out, tuple) else out
        states.append(state)
    tokens = clip().processor.tokenizer(TEXTS, padding=True, return_tensors="pt")
    texts = model.text_projection(model.text_model(**tokens).pooler_output)
    vectors = model.visual_projection(tower.post_layernorm(torch.stack(states)))
    cosine = torch.nn.functional.cosine_similarity(vectors[..., None, :], texts, dim=-1)
    return (cosine * model.logit_scale.exp()).double().softmax(dim=-1)


def test_every_position_of_every_state_is_read_as_transformers_would() -> None:
    lens = LogitLens(top_k=14, targets=["cat", "dog"], tower="vision", candidates=kinds())
    reading = clip().run(inputs(), lens)[lens]
    expected = distributions(inputs().pixel_values)
    assert reading.states == ("embed", "0", "1", "2", "3", "4", "5")
    assert len(reading.places) == 6 * 145
    for state in range(7):
        naive = expected[state].flatten(0, 1).numpy()
        found = np.zeros_like(naive)
        np.put_along_axis(found, reading.top_ids[state], reading.top_probabilities[state].astype(float), axis=1)
        np.testing.assert_allclose(found, naive, atol=5 * EXACT)  # the temperature multiplies cosines by some 70
        cat = naive[:, KINDS.index("cat")]
        np.testing.assert_array_equal(reading.target_ranks[state, :, 0], 1 + (naive > cat[:, None]).sum(axis=1))


def test_the_class_tokens_last_state_is_the_zero_shot_answer() -> None:
    lens = LogitLens(top_k=1, targets=list(range(14)), tower="vision", candidates=TEXTS, positions="cls", layers=-1)
    run = clip().run(inputs(), lens)
    zero_shot = clip().zero_shot(list(inputs().images), TEXTS, template="{}").detach().numpy()
    np.testing.assert_allclose(run[lens].target_probabilities[0], zero_shot, atol=EXACT)


def test_candidates_may_be_texts_vectors_or_made_before() -> None:
    texts = LogitLens(tower="vision", candidates=TEXTS)
    vectors = LogitLens(tower="vision", candidates=3 * kinds().vectors)
    made = LogitLens(tower="vision", candidates=kinds())
    run = clip().run(inputs(), texts, vectors, made)
    assert np.array_equal(run[texts].top_ids, run[vectors].top_ids)
    assert np.array_equal(run[texts].top_ids, run[made].top_ids)
    assert {run[lens].names[0] for lens in (texts, vectors, made)} == {TEXTS[0], "0", KINDS[0]}


def test_hooks_on_the_text_tower_do_not_touch_the_candidates() -> None:
    """The candidates are no part of the run: an intervention on its texts leaves them as they are."""
    lens = LogitLens(tower="vision", candidates=TEXTS)
    both = clip().prepare(list(inputs().images), TEXTS[:3])
    run = clip().run(both, AttentionKnockout(slice(1, None), 0, tower="text"), lens)
    plain = clip().run(both, lens)
    assert not torch.equal(run.logits, plain.logits)
    assert np.array_equal(run[lens].top_probabilities, plain[lens].top_probabilities)


@pytest.mark.parametrize("first_layer", [0, 3, 5])
def test_the_focused_read_out_sees_class_token_and_object_alone(first_layer: int) -> None:
    """Parts of pictures by Pascal's protocol: from a layer on, class token and object see themselves alone."""
    regions = [inputs().region(one.mask, image=row) for row, one in subjects()]
    rest = [~region for region in regions]
    focus = AttentionKnockout(["cls", *regions], rest, layers=range(first_layer, 6), tower="vision")
    lens = LogitLens(top_k=14, tower="vision", candidates=kinds(), positions="cls")
    reading = clip().run(inputs(), focus, lens)[lens]
    layout = inputs().pictures.with_class_tokens(1)
    is_query, is_key = layout.mask(["cls", *regions]), layout.mask(rest)
    expected = distributions(inputs().pixel_values, is_query[:, :, None] & is_key[:, None, :], first_layer)[:, :, 0]
    found = np.zeros(expected.shape)
    np.put_along_axis(found, reading.top_ids, reading.top_probabilities.astype(float), axis=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=5 * EXACT)


def subjects() -> list[tuple[int, Any]]:
    return [(row, one.subject) for row, one in enumerate(example_scenes()) if one.subject is not None]


@torch.no_grad()
def test_the_focused_read_out_names_the_object_more_often_than_the_whole_picture_does() -> None:
    """Scenes of three things; one of them, drawn at random, is asked for (over 200 scenes: 100% against 38%)."""
    random = Random(0)
    scenes = [draw_scene(9_700_000 + seed, "heldout", 3) for seed in range(10)]
    asked = [random.choice(scene.objects) for scene in scenes]
    pictures = clip().prepare([Image.fromarray(scene.image) for scene in scenes])
    regions = [pictures.region(one.mask, image=row) for row, one in enumerate(asked)]
    lens = LogitLens(top_k=1, tower="vision", candidates=kinds(), positions="cls", layers=-1)
    focus = AttentionKnockout(["cls", *regions], [~region for region in regions], layers=range(3, 6), tower="vision")

    def n_right(*objects: Any) -> int:
        found = clip().run(pictures, *objects, lens)[lens].top.tokens[0, :, 0]
        return sum(word == one.kind for word, one in zip(found.tolist(), asked, strict=True))

    assert n_right(focus) >= 9 and n_right() <= 7


def test_figures_stand_on_the_picture() -> None:
    lens = LogitLens(tower="vision", candidates=kinds(), targets=["cat"])
    reading = clip().run(inputs(), lens)[lens]
    figure = reading.plot(row=1, region=inputs().patches(rows=0, image=1))
    assert len(figure.frames) == 7 and len(figure.layout.images) == 1 and len(figure.data) == 2
    assert reading.patches("rank", row=5).shape == (7, 12, 12)
    frame = reading.to_dataframe("targets").query("role == 'cls' and layer == 5")
    assert frame["row"].tolist() == list(range(6)) and frame["patch_row"].isna().all()
    cls = LogitLens(tower="vision", candidates=kinds(), positions="cls")
    assert clip().run(inputs(), cls)[cls].plot(row=2).data[0].z.shape == (5, 7)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(candidates=None), HookError, "candidates to compare the pictures with, got none"),
        (dict(candidates=[]), InputError, "at least one text"),
        (dict(candidates=torch.ones(3, 7)), InputError, "vectors of width 128"),
        (dict(candidates=torch.full((3, 128), torch.nan)), InputError, "finite vectors"),
        (dict(targets=["unicorn"]), InputError, "names of candidates .*'bird'.*got 'unicorn'"),
        (dict(targets=[14]), InputError, "ids from 0 to 13"),
        (dict(tower="decoder"), HookError, "Tower does not exist: expected tower to be one of vision, text"),
        (dict(layers=7), EmptySelectionError, "layers from 0 to 5"),
        (dict(positions="last"), ValueError, "Unknown name of positions"),
    ],
)
def test_what_cannot_be_read_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    lens = LogitLens(**{"tower": "vision", "candidates": kinds(), **change})
    with pytest.raises(error, match=message):
        clip().run(inputs(), lens)


def test_texts_need_a_tokenizer_and_a_vision_tower_alone_has_no_words() -> None:
    tiny = HookedCLIP.from_hf(new_clip())
    pixels = {"pixel_values": torch.randn(1, 3, *tiny.vision.cfg.image_size), "input_ids": torch.ones(1, 2).long()}
    with pytest.raises(InputError, match="without one"):
        tiny.run(pixels, LogitLens(tower="vision", candidates=["a cat"]))
    made = LogitLens(tower="vision", candidates=torch.randn(3, 16))
    n_places = len(tiny.run(pixels, made)[made].places)
    assert n_places == 1 + tiny.grid_for(tiny.vision.cfg.image_size).n_patches
    with pytest.raises(HookError, match="HookedCLIP"):
        HookedTransformer.from_hf(new_clip().vision_model).run(pixels["pixel_values"], made)


def test_candidates_are_those_that_were_given() -> None:
    vectors = clip().candidates(["a photo of a cat.", "a photo of a dog."]).vectors.clone()
    lens = LogitLens(tower="vision", candidates=vectors, positions="cls", layers=-1)
    before = clip().run(inputs(), lens)[lens].top_probabilities
    vectors.zero_()
    assert np.array_equal(clip().run(inputs(), lens)[lens].top_probabilities, before)

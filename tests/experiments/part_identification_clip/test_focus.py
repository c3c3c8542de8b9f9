"""CLIP held to a part: the same ranks as the written-out attention of plain transformers gives, and its candidates."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from tests.experiments.described_scenes import demo
from tests.interventions.plain_transformers import Plain, edges
from vlm_lens import HookedCLIP
from vlm_lens.data import read_scenes
from vlm_lens.demo import clip_folder
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.part_identification_clip import PartIdentificationClip
from vlm_lens.experiments.part_identification_clip.candidates import vocabulary_of
from vlm_lens.experiments.part_identification_clip.focus import Focus, ranks

WORDS = ("hull", "mast", "sail", "boat", "cat", "tree", "a", "leg", "red", "house")
TARGETS = {"hull": [0], "boat": [3], "upright": [1, 2]}


@cache
def clip() -> HookedCLIP:
    return HookedCLIP.demo()


@cache
def vectors() -> torch.Tensor:
    return clip().candidates([f"a photo of a {word}." for word in WORDS], WORDS).vectors


def boat() -> Any:
    return read_scenes(4)[3]


@pytest.mark.parametrize("first", [0, 3, 5, 6])
def test_ranks_are_those_of_the_written_out_attention(first: int) -> None:
    example = boat()
    inputs = clip().prepare(example.image)
    region = inputs.region(example.annotations[0].parts["hull"])
    # Other readings in the same batch must not change this one.
    others = [Focus(~region, 1), Focus(region, 6)]
    found = ranks(clip(), example.image, [*others, Focus(region, first)], TARGETS, vectors(), batch_size=3)[-1]
    held, outside = [0, *(patch + 1 for patch in region)], [patch + 1 for patch in ~region]
    plain = Plain(CLIPModel.from_pretrained(clip_folder(), dtype="float32").eval())
    with torch.no_grad():
        embedded = plain.image_embeds(
            inputs.pixel_values, edges("vision", range(first, 6), range(4), 0, held, outside)
        )[0]
        texts = vectors() / vectors().norm(dim=-1, keepdim=True)
        cosines = texts @ embedded / embedded.norm()
        probabilities = (cosines * plain.hf.logit_scale.exp()).softmax(dim=-1)
    for column, places in enumerate(TARGETS.values()):
        own = sum(float(probabilities[place]) for place in places)
        above = [place for place in range(len(WORDS)) if place not in places and float(probabilities[place]) > own]
        assert found[column] == 1 + len(above)


def test_batches_make_no_difference() -> None:
    example = boat()
    inputs = clip().prepare(example.image)
    regions = [inputs.region(mask) for mask in example.annotations[0].parts.values()]
    focuses = [Focus(region, first) for region in regions for first in (0, 4, 6)]
    found = [ranks(clip(), example.image, focuses, TARGETS, vectors(), size) for size in (1, 4, 32)]
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
    assert len({tuple(row) for row in found[0]}) > 1


def test_a_region_of_the_whole_picture_is_no_focus() -> None:
    example = boat()
    whole = clip().prepare(example.image).patches()
    found = ranks(clip(), example.image, [Focus(whole, 0), Focus(whole, 6)], TARGETS, vectors())
    assert (found[0] == found[1]).all()


def test_with_the_papers_preset_a_sentence_counts_as_often_as_it_has_tokens() -> None:
    tokenizer = clip().processor.tokenizer
    ours, paper = (vocabulary_of(tokenizer, "tokens", distinct) for distinct in (True, False))
    assert sorted(set(paper.words)) == sorted(ours.words)
    assert len(paper.words) > len(set(paper.words)) == len(ours.words)
    byte, letter = tokenizer.convert_tokens_to_ids(["<0x61>", "a"])
    assert ours.place_of[byte] == ours.place_of[letter]
    assert paper.place_of[byte] != paper.place_of[letter]


def test_presets_agree_on_whole_words() -> None:
    tokenizer = clip().processor.tokenizer
    ours, paper = (vocabulary_of(tokenizer, "words", distinct) for distinct in (True, False))
    assert ours.words == paper.words
    assert {"leg", "hull", "cat"} <= set(ours.words) and "!" not in ours.words


def test_another_kind_of_candidates_is_refused() -> None:
    with pytest.raises(InputError, match="'tokens' or 'words'"):
        vocabulary_of(clip().processor.tokenizer, "nouns", True)


def test_a_template_without_a_place_is_refused() -> None:
    options = PartIdentificationClip.Options().but(template="A photo", classes="boat", least_share=0.02)
    with pytest.raises(InputError, match="{}"):
        PartIdentificationClip().chosen(read_scenes(4), options)


def context_of(folder: Path, **given: Any) -> Context:
    options = PartIdentificationClip.Options().but(
        classes="boat", least_share=0.03, candidates="words", template="a photo of a {}.", **given
    )
    context = Context(
        demo(), PartIdentificationClip().chosen(read_scenes(4), options), options, 0, folder, shows_progress=False
    )
    PartIdentificationClip().prepare(context)
    return context


def test_rows_have_every_layer_and_do_not_depend_on_what_ran_before(tmp_path: Path) -> None:
    experiment = PartIdentificationClip()
    once, again = (
        experiment.rows(context, context.data)
        for context in (context_of(tmp_path), context_of(tmp_path, batch_size=20))
    )
    assert once == again
    scores = once["scores"]
    assert {row["from_layer"] for row in scores} == set(range(7))
    assert len(scores) == 3 * 7
    unheld = [row for row in scores if row["from_layer"] == 6]
    assert len({row["object_score"] for row in unheld}) == 1  # the whole picture, whichever part is asked for
    assert all(row["score"] == row["null"] for row in unheld)


def test_sentences_are_embedded_once(tmp_path: Path) -> None:
    context_of(tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    context_of(tmp_path)
    assert file.stat().st_mtime_ns == written
    assert np.load(file).shape[0] == len(vocabulary_of(clip().processor.tokenizer, "words", True).words)

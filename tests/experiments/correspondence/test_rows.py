"""Words at the patches of objects against the hidden states of `transformers`."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.experiments.described_scenes import demo, plain_demo
from vlm_lens.data import Annotation, Dataset, Example, read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.correspondence import Correspondence
from vlm_lens.experiments.correspondence.names import name_tokens
from vlm_lens.experiments.correspondence.states import top_tokens
from vlm_lens.experiments.prompts import asked

EXPERIMENT = Correspondence()
DEFAULT, PAPER = (Correspondence.Options.preset(name) for name in ("default", "paper"))
SMALL = {"least_area": 0, "most_area": 1_000_000}


def context_of(preset: str = "default", n: int = 2, **options: Any) -> Context:
    chosen = Correspondence.Options.preset(preset).but(**{**SMALL, **options})
    return Context(demo(), EXPERIMENT.chosen(read_scenes(n), chosen), chosen, 0, Path(), shows_progress=False)


@cache
def hidden_states(example: str) -> list[torch.Tensor]:
    """What `transformers` returns at the patches: seven states, the last of them normed already."""
    (scene,) = [one for one in read_scenes(2) if one.id == example]
    inputs = asked(demo(), scene.image, "Describe this image.")
    with torch.no_grad():
        found = plain_demo().hf(**dict(inputs), output_hidden_states=True).hidden_states
    positions = inputs.layout.image_span().patch_positions
    return [one[0, positions.start : positions.stop] for one in found]


def tops_by_hand(example: str, norms_last_twice: bool) -> np.ndarray:
    hf, states = plain_demo().hf, hidden_states(example)
    norm, unembed = hf.model.language_model.norm, hf.lm_head
    with torch.no_grad():
        read = [norm(state) for state in states[:-1]]
        read.append(norm(states[-1]) if norms_last_twice else states[-1])
        return np.stack([unembed(one).argmax(dim=-1).numpy() for one in read])


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_words_of_every_patch_are_those_of_transformers(preset: str) -> None:
    context = context_of(preset)
    for scene in read_scenes(2):
        inputs = asked(demo(), scene.image, "Describe this image.")
        twice = context.options.norms_last_twice
        found = top_tokens(demo(), inputs, twice)
        assert found.shape == (7, 144)
        assert np.array_equal(found, tops_by_hand(scene.id, twice))


def test_norming_the_last_state_twice_changes_it_alone() -> None:
    scene = read_scenes(1)[0]
    inputs = asked(demo(), scene.image, "Describe this image.")
    once, twice = (top_tokens(demo(), inputs, one) for one in (DEFAULT.norms_last_twice, PAPER.norms_last_twice))
    assert np.array_equal(once[:-1], twice[:-1]) and not np.array_equal(once[-1], twice[-1])


def test_what_is_asked_behind_the_picture_changes_no_patch() -> None:
    scene = read_scenes(1)[0]
    one, other = (
        top_tokens(demo(), asked(demo(), scene.image, words), False) for words in ("Describe this image.", "Why?")
    )
    assert np.array_equal(one, other)


def test_a_share_is_that_of_the_patches_whose_word_is_the_objects() -> None:
    context = context_of()
    found = EXPERIMENT.rows(context, list(context.data))
    for scene in read_scenes(2):
        tops = tops_by_hand(scene.id, False)
        for place, annotation in enumerate(scene.annotations):
            own = annotation.mask.reshape(12, 16, 12, 16).any(axis=(1, 3)).ravel()
            names = name_tokens(demo().tokenizer, annotation.category, "aliases").ids
            named = np.isin(tops, names)
            states = [one for one in found["states"] if one["target"] == f"{scene.id}/{place}"]
            assert [one["state"] for one in states] == list(range(7))
            assert [one["share"] for one in states] == pytest.approx(named[:, own].mean(axis=1))
            beside = named[:, ~own].mean(axis=1)
            assert [one["elsewhere"] for one in states] == pytest.approx(beside)
            (row,) = [one for one in found["objects"] if one["target"] == f"{scene.id}/{place}"]
            shares = [one["share"] for one in states]
            assert (row["best_share"], row["best_state"]) == (max(shares), int(np.argmax(shares)))


def test_rows_depend_on_nothing_but_the_example() -> None:
    context = context_of()
    together, alone = (EXPERIMENT.rows(context_of(), some) for some in (list(context.data), [context.data[1]]))
    for table in ("objects", "states"):
        assert [one for one in together[table] if one["example"] == context.data[1].id] == list(alone[table])


def test_a_name_is_any_form_of_it_or_its_first_piece() -> None:
    tokenizer = demo().tokenizer
    aliases, piece = (name_tokens(tokenizer, "cat", one.match) for one in (DEFAULT, PAPER))
    assert piece.ids == (demo().to_single_token(" cat"),) and piece.pieces == ()
    assert set(piece.ids) <= set(aliases.ids)
    legs = name_tokens(tokenizer, "leg", DEFAULT.match)
    assert {demo().to_single_token(" leg"), demo().to_single_token(" legs")} <= set(legs.ids)
    assert name_tokens(tokenizer, "leg", PAPER.match).ids == (demo().to_single_token(" leg"),)
    split = [name_tokens(tokenizer, "zebra", one.match) for one in (DEFAULT, PAPER)]
    assert all(len(one.pieces) > 1 and len(one.ids) == 1 for one in split)
    with pytest.raises(InputError, match="'first piece'"):
        name_tokens(tokenizer, "cat", "synonyms")


def pictured(size: tuple[int, int], area: float, n: int = 1) -> Dataset:
    mask = np.zeros(size, bool)
    mask[0, 0] = True
    annotations = tuple(Annotation("cat", float(area), lambda: mask) for _ in range(n))
    picture = Example("one", lambda: Image.new("RGB", size[::-1]), size, annotations)
    return Dataset("made", "0" * 16, (picture,))


@pytest.mark.parametrize(
    ("size", "area", "default", "paper"),
    [
        ((480, 640), 25_000, True, True),
        ((480, 640), 20_000, False, False),  # strictly
        ((480, 640), 31_000, False, False),
        ((192, 192), 3_000, True, False),
        ((200, 200), 25_000, False, True),
    ],
)
def test_the_size_of_an_object_is_of_the_picture_or_in_pixels(
    size: tuple[int, int], area: float, default: bool, paper: bool
) -> None:
    for options, expected in ((DEFAULT, default), (PAPER, paper)):
        assert (len(EXPERIMENT.chosen(pictured(size, area), options)) == 1) is expected
    assert not len(EXPERIMENT.chosen(pictured(size, area, n=2), DEFAULT))  # two of a kind
    both = EXPERIMENT.chosen(pictured(size, area, n=2), DEFAULT.but(is_alone=False))
    assert sum(len(one.targets) for one in both) == (2 if default else 0)


def test_an_object_that_the_crop_cut_away_has_a_row_without_a_state() -> None:
    options = DEFAULT.but(**SMALL)
    data = EXPERIMENT.chosen(pictured((96, 300), 5.0), options)
    found = EXPERIMENT.rows(Context(demo(), data, options, 0, Path()), list(data))
    assert found["objects"][0]["n_patches"] == 0 and found["objects"][0]["best_state"] is None
    assert not found["states"]


def test_every_quirk_has_a_test() -> None:
    # `geometry` is tested in test_object_patches.py, the others here.
    assert set(Correspondence.Options.quirks()) == {"geometry", "scales_area", "match", "norms_last_twice"}


def test_a_mark_of_a_space_that_stands_alone_is_no_piece_of_a_name() -> None:
    found = name_tokens(demo().tokenizer, "refrigerator", PAPER.match)
    assert demo().tokenizer.tokenize("a refrigerator")[1] == "▁"
    assert found.pieces[0] == "re" and found.ids == (demo().tokenizer.convert_tokens_to_ids("re"),)

"""Each quirk of the paper's preset: where it differs from the default, and where both are one."""

import numpy as np
import pytest

from tests.experiments.described_scenes import demo
from tests.experiments.object_ablation.ablated_scenes import context_of
from vlm_lens.data import read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.answers import beginning_of
from vlm_lens.experiments.mean_pictures import mean_of
from vlm_lens.experiments.object_ablation import ObjectAblation
from vlm_lens.experiments.object_ablation.gradients import explained_token, ranking_by_gradients
from vlm_lens.experiments.object_ablation.noise import hidden_by_noise
from vlm_lens.experiments.object_ablation.scoring import names_object, says_yes
from vlm_lens.experiments.object_ablation.tasks import POLLING, prompt_of, subject_of
from vlm_lens.experiments.object_ablation.token_sets import TokenSet, random_pool
from vlm_lens.experiments.object_patches import object_region

DEFAULT, PAPER = (ObjectAblation.Options.preset(name) for name in ("default", "paper"))


def test_every_quirk_has_a_test() -> None:
    # `geometry` is tested in test_object_patches.py, `token_rule` in tests/metrics and below.
    assert set(ObjectAblation.Options.quirks()) == {
        "geometry", "noise", "random_excludes_object", "gradient_target", "gradient_slice_takes_text", "mention_rule",
        "yes_rule", "token_rule",
    }  # fmt: skip
    assert (DEFAULT.geometry, PAPER.geometry) == ("exact", "drifting")


def test_noise_of_the_paper_is_one_patch_again_and_again() -> None:
    scene = read_scenes(1)[0]
    mask = scene.annotations[0].mask
    span = demo().prepare(scene.image, "?").layout.image_span()
    found = object_region(span, scene.annotations[0], "exact")
    before = np.asarray(scene.image)
    hidden = {
        kind: np.asarray(hidden_by_noise(scene.image, mask, found, kind, "exact", np.random.default_rng(0)))
        for kind in (DEFAULT.noise, PAPER.noise, "pixels")
    }
    inside = np.kron(found.patches.numpy(), np.ones((16, 16), bool))
    for picture in hidden.values():
        assert np.array_equal(picture[~inside], before[~inside])
    patches = {
        kind: [
            picture[16 * row : 16 * row + 16, 16 * col : 16 * col + 16]
            for row, col in np.argwhere(found.patches.numpy())
        ]
        for kind, picture in hidden.items()
    }
    assert all(np.array_equal(one, patches[PAPER.noise][0]) for one in patches[PAPER.noise])
    assert not any(np.array_equal(one, patches[DEFAULT.noise][0]) for one in patches[DEFAULT.noise][1:])
    assert np.array_equal(hidden["pixels"][~mask], before[~mask])
    assert (hidden["pixels"][mask] != before[mask]).any(axis=-1).mean() > 0.99
    with pytest.raises(InputError, match="'tiled'"):
        hidden_by_noise(scene.image, mask, found, "snow", "exact", np.random.default_rng(0))


def test_random_tokens_of_the_paper_may_be_the_objects() -> None:
    scene = read_scenes(1)[0]
    found = object_region(demo().prepare(scene.image, "?").layout.image_span(), scene.annotations[0], "exact")
    beside, everywhere = (random_pool(found, one.random_excludes_object) for one in (DEFAULT, PAPER))
    assert not beside & found.patch_ids and beside | found.patch_ids == everywhere == set(range(144))
    # Where there is no object to keep, both draw from everything.
    nothing = found - found
    assert random_pool(nothing, True) == random_pool(nothing, False)


def test_gradients_of_the_paper_explain_what_begins_every_text() -> None:
    for preset, token in (("default", demo().to_single_token(" Yes")), ("paper", demo().tokenizer.bos_token_id)):
        context = context_of(preset)
        subject = subject_of(context, context.data[0])
        polling = prompt_of(context, subject, POLLING, subject.example.image)
        question = f"Is there a {subject.category} in this image?"
        assert explained_token(context, polling, question).plus == (token,)
    # Behind a line break the answer begins without a space: there both would take the same piece of a text.
    assert beginning_of(demo(), "Yes", "assistant\n").pieces[0] == "Yes"
    with pytest.raises(InputError, match="'first id'"):
        explained_token(context_of(gradient_target="no"), polling, question)


def test_the_slice_of_the_paper_takes_the_text_token_behind_the_picture() -> None:
    rankings = {}
    for takes_text in (False, True):
        context = context_of(gradient_slice_takes_text=takes_text)
        subject = subject_of(context, context.data[0])
        polling = prompt_of(context, subject, POLLING, subject.example.image)
        question = f"Is there a {subject.category} in this image?"
        rankings[takes_text] = ranking_by_gradients(context, polling, question, mean_of(context))
    assert sorted(rankings[False]) == list(range(144)) and sorted(rankings[True]) == list(range(145))


def test_a_set_with_the_text_token_puts_it_at_the_mean_too_and_patches_as_ever() -> None:
    context = context_of()
    inputs = demo().prepare(context.data[0].image, "Is there a cat in this image?")
    span, mean = inputs.layout.image_span(), mean_of(context)
    assert inputs.layout.str_tokens()[span.stop] == "\n"
    found = {}
    for takes_text in (False, True):
        one = TokenSet("Int. Gradients", 3, "", frozenset({0, 7}), takes_text)
        assert one.n_tokens == 2 + takes_text
        run = demo().run(inputs, one.ablated(span, mean), names_filter="hook_embed")
        found[takes_text] = run.cache["hook_embed"][0]
    clean = demo().run(inputs, names_filter="hook_embed").cache["hook_embed"][0]
    at_mean = [span.start, span.start + 7]
    for embed in found.values():
        assert np.allclose(embed[at_mean], mean.value.float())
    changed = {takes: np.flatnonzero((embed != clean).any(-1)).tolist() for takes, embed in found.items()}
    assert changed == {False: at_mean, True: [*at_mean, span.stop]}


@pytest.mark.parametrize(
    ("prompt", "answer", "default", "paper"),
    [
        ("Describe this image.", "A cat is on the bed.", True, True),
        ("Describe this image.", "A bed.", False, False),
        ("Describe this image.", "The letters are scattered.", False, True),
        ("Describe this image.", "Two Cats.", True, False),
        ("Describe this image.", "A kitten sleeps.", True, False),
        ("Is there a cat?", "A bed.", False, True),
    ],
)
def test_a_name_is_a_word_of_the_answer_or_letters_anywhere(
    prompt: str, answer: str, default: bool, paper: bool
) -> None:
    assert names_object(prompt, answer, "cat", DEFAULT.mention_rule) is default
    assert names_object(prompt, answer, "cat", PAPER.mention_rule) is paper


@pytest.mark.parametrize(
    ("prompt", "answer", "default", "paper"),
    [
        ("Is there a cat?", "Yes", True, True),
        ("Is there a cat?", "No", False, False),
        ("Are there eyes?", "No", False, True),
        ("Is there a cat?", "No, I cannot say yes.", False, True),
    ],
)
def test_yes_is_a_word_of_the_answer_or_letters_anywhere(prompt: str, answer: str, default: bool, paper: bool) -> None:
    assert says_yes(prompt, answer, DEFAULT.yes_rule) is default
    assert says_yes(prompt, answer, PAPER.yes_rule) is paper

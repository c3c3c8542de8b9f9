"""Held-out questions are about scenes that training cannot have shown."""

from vlm_lens.demo.evaluation.held_out import on_questions, presence_questions, scenes
from vlm_lens.demo.scenes import is_heldout
from vlm_lens.demo.training.recipe import Recipe


def test_every_object_of_a_held_out_scene_is_a_combination_that_training_never_shows() -> None:
    for scene in scenes(40):
        assert all(is_heldout(found.kind, found.color, found.place) for found in scene.objects)


def test_no_seed_of_training_is_a_held_out_seed() -> None:
    recipe = Recipe()
    last = [
        recipe.first_seed(shard, mix) + n_scenes - 1
        for shard in range(recipe.n_shards)
        for mix, n_scenes in recipe.n_scenes.items()
    ]
    assert max(last) < scenes(1)[0].seed


def test_yes_and_no_are_asked_equally_often_and_answered_truly() -> None:
    questions = presence_questions(60)
    assert sum(question.answer == "Yes" for question in questions) == 30
    for question in questions:
        kind = question.text.removeprefix("Is there a ").removesuffix(" in this image?")
        is_there = kind in {found.kind for found in question.scene.objects}
        assert is_there == (question.answer == "Yes")


def test_what_is_on_a_surface_has_one_true_answer() -> None:
    for question in on_questions(20):
        surface = question.text.removeprefix("What is on the ").removesuffix("?")
        standing = [o.kind for o in question.scene.objects if o.surface == surface]
        assert standing == [question.answer]

"""The weights in the repository: small, of one piece, and able to see."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vlm_lens.demo
from vlm_lens.demo.evaluation.accuracy import described, what_is_on, yes_no, zero_shot
from vlm_lens.demo.evaluation.held_out import presence_questions
from vlm_lens.demo.evaluation.loaded import LoadedModels, answer_logits, load
from vlm_lens.demo.evaluation.localisation import ablation, answer_with_mean_at

WEIGHTS = Path(vlm_lens.demo.__file__).parent / "weights"


@pytest.fixture(scope="module")
def models() -> LoadedModels:
    return load(WEIGHTS)


def test_the_weights_take_less_than_twelve_megabytes() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 12_000_000


def test_both_models_have_the_same_vision_tower(models: LoadedModels) -> None:
    tower = models.clip.vision_model.state_dict()
    for name, value in models.vlm.model.vision_tower.state_dict().items():
        assert torch.equal(tower[name], value), name


# 50 held-out scenes each: far fewer than the model card's, so the bounds are lower than its figures.
def test_yes_no_questions_are_answered(models: LoadedModels) -> None:
    assert yes_no(models, 50).value >= 0.9


def test_what_stands_on_a_surface_is_named(models: LoadedModels) -> None:
    assert what_is_on(models, 50).value >= 0.85


def test_descriptions_name_the_kinds_that_are_there(models: LoadedModels) -> None:
    assert described(models, 20)[0]["f1"].value >= 0.85


def test_zero_shot_names_the_one_object(models: LoadedModels) -> None:
    assert zero_shot(models, 50).value >= 0.9


def test_the_answer_rests_on_the_objects_patches(models: LoadedModels) -> None:
    found = ablation(models, 30).probability
    assert found["intact"].value > 0.95
    assert found["random"].value > 0.9
    assert found["object"].value < 0.3


def test_replacing_no_patch_leaves_the_answer_as_it_was(models: LoadedModels) -> None:
    questions = presence_questions(4)
    nothing = np.zeros((4, 144), dtype=bool)
    unused = torch.full((models.vlm.config.text_config.hidden_size,), torch.inf)
    replaced = answer_with_mean_at(models, questions, nothing, unused)
    assert torch.equal(replaced, answer_logits(models, questions))

"""A training stopped anywhere and taken up again ends with the weights of an unbroken one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_lens.demo.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from vlm_lens.demo.training.recipe import Recipe, StageRecipe
from vlm_lens.demo.training.training_run import TrainingRun
from vlm_lens.demo.training.workers import single_worker
from vlm_lens.errors import CheckpointError

TINY = Recipe(
    n_shards=1,
    n_scenes={"basics": 4, "relations": 4},
    n_sets=2,
    contrast_from=0.5,
    save_every=1,
    stages=(
        StageRecipe("clip", n_steps=2, batch_size=2, peak_rate=1e-3, n_warmup=1),
        StageRecipe("language", n_steps=1, batch_size=2, peak_rate=1e-3, n_warmup=1),
        StageRecipe("projector", n_steps=1, batch_size=2, peak_rate=1e-3, n_warmup=1),
        StageRecipe("joint", n_steps=2, batch_size=2, peak_rate=1e-3, n_warmup=1, n_schedule=4),
        StageRecipe("relations", n_steps=1, batch_size=2, peak_rate=1e-3, n_warmup=1, mix="relations"),
    ),
)


class KeepingRun(TrainingRun):
    """Keeps a copy of every checkpoint that the run writes."""

    def _save(self, stage: int, within: dict[str, Any] | None) -> None:
        super()._save(stage, within)
        step = within["step"] if within else 0
        shutil.copy(self.folder / FILE_NAME, self.folder / f"stage {stage} step {step}")


def run(kind: type[TrainingRun], folder: Path) -> TrainingRun:
    training = kind(TINY, folder, single_worker(TINY.n_shards), torch.device("cpu"), has_progress=False)
    training.run()
    return training


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return run(KeepingRun, tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize("stopped", ["stage 0 step 1", "stage 2 step 0", "stage 3 step 1"])
def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(
    unbroken: TrainingRun, stopped: str, tmp_path: Path
) -> None:
    shutil.copy(unbroken.folder / stopped, tmp_path / FILE_NAME)
    resumed = run(TrainingRun, tmp_path)
    for own, expected in ((resumed.clip, unbroken.clip), (resumed.llava, unbroken.llava)):
        for name, value in expected.state_dict().items():
            assert torch.equal(own.state_dict()[name], value), name


def test_every_stage_changes_its_own_weights_and_only_those(unbroken: TrainingRun) -> None:
    def changed(before: str, after: str, model: str) -> set[str]:
        first, second = (
            torch.load(unbroken.folder / name, weights_only=True)["models"][model] for name in (before, after)
        )
        return {name for name in first if not torch.equal(first[name], second[name])}

    language = changed("stage 1 step 0", "stage 2 step 0", "llava")
    projector = changed("stage 2 step 0", "stage 3 step 0", "llava")
    joint = changed("stage 3 step 0", "stage 4 step 0", "llava")
    assert all(name.startswith(("model.language_model", "lm_head")) for name in language)
    assert all(name.startswith("model.multi_modal_projector") for name in projector)
    assert projector and language and projector <= joint
    assert not any("vision_tower" in name for name in joint)
    tower = unbroken.clip.vision_model.state_dict()
    for name, value in unbroken.llava.model.vision_tower.state_dict().items():
        assert torch.equal(tower[name], value)


def test_a_checkpoint_of_another_recipe_is_refused(unbroken: TrainingRun, tmp_path: Path) -> None:
    shutil.copy(unbroken.folder / FILE_NAME, tmp_path / FILE_NAME)
    other = TrainingRun(Recipe(seed=1), tmp_path, single_worker(2), torch.device("cpu"), has_progress=False)
    with pytest.raises(CheckpointError, match="one made with the recipe"):
        other.run()


class Unwritable:
    """Fails when it is written, as a full disk or an interruption would."""

    def __reduce__(self) -> Any:
        raise OSError("no space left")


def test_an_interrupted_save_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, {"weights": torch.zeros(3), "step": Unwritable()})
    kept = load_checkpoint(tmp_path)
    assert kept is not None
    assert kept["step"] == 1
    assert torch.equal(kept["weights"], torch.ones(3))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="Delete it to start anew"):
        load_checkpoint(tmp_path)

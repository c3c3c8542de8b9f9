"""A training from the first scene to the last stage, which can be interrupted anywhere."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from vlm_lens.demo.architecture import copy_tower, new_clip, new_llava
from vlm_lens.demo.text import corpus
from vlm_lens.demo.tokenizer import build_tokenizer
from vlm_lens.demo.training.checkpoint import load_checkpoint, save_checkpoint
from vlm_lens.demo.training.clip_loss import PatchReader
from vlm_lens.demo.training.clip_stage import ClipStage
from vlm_lens.demo.training.decoder_stages import ImageStage, LanguageStage, tower_features
from vlm_lens.demo.training.encoded_turns import ASSISTANT, USER
from vlm_lens.demo.training.pool import ScenePool, draw_pool
from vlm_lens.demo.training.recipe import Recipe, StageRecipe
from vlm_lens.demo.training.stage_loop import Stage, run_stage
from vlm_lens.demo.training.task_mix import MIXES
from vlm_lens.demo.training.workers import Worker
from vlm_lens.errors import CheckpointError

LOG_NAME = "log.jsonl"


def demo_tokenizer(*, appends_end: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of the bundled texts; role markers are words of it too."""
    return build_tokenizer([*corpus(), USER, ASSISTANT], appends_end=appends_end)


class TrainingRun:
    """All stages in order, each going on from the checkpoint of the one before.

    Args:
        recipe: All numbers.
        folder: Where checkpoints and the log are.
        worker: This process.
        device: Where to train.
        has_progress: Whether progress bars are shown.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        worker: Worker,
        device: torch.device,
        *,
        has_progress: bool = True,
    ) -> None:
        self.recipe, self.folder, self.worker, self.device = recipe, folder, worker, device
        self.has_progress = has_progress
        self.tokenizer = demo_tokenizer()
        self.clip = new_clip(self.tokenizer, recipe.seed).to(device)  # type: ignore[arg-type]
        self.reader = PatchReader(self.clip.config.vision_config.hidden_size).to(device)
        self.llava = new_llava(self.tokenizer, recipe.seed + 1).to(device)  # type: ignore[arg-type]
        self.mix = ""
        self.features: dict[int, torch.Tensor] = {}
        self.pools: dict[int, ScenePool] = {}

    @property
    def _models(self) -> dict[str, torch.nn.Module]:
        return {"clip": self.clip, "reader": self.reader, "llava": self.llava}

    def run(self) -> None:
        """Runs every stage that the checkpoint has not finished.

        Raises:
            CheckpointError: The checkpoint was made with another recipe.
        """
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is not None and checkpoint["recipe"] != repr(asdict(self.recipe)):
            raise CheckpointError(
                "Training checkpoint",
                f"one made with the recipe {asdict(self.recipe)}",
                checkpoint["recipe"],
                "Delete it to start anew.",
            )
        self.worker.wait()
        first, within = 0, None
        if checkpoint is not None:
            first, within = checkpoint["stage"], checkpoint["within"]
            for name, model in self._models.items():
                model.load_state_dict(checkpoint["models"][name])
        for number in range(first, len(self.recipe.stages)):
            settings = self.recipe.stages[number]
            if settings.mix != self.mix:
                self._draw(settings.mix)
            run_stage(
                self._stage(settings),
                self.worker,
                resume=within,
                save_every=self.recipe.save_every,
                save=partial(self._save, number),
                log_path=self.folder / LOG_NAME,
                device=self.device,
                has_progress=self.has_progress,
            )
            within = None
            if settings.name == "clip":
                copy_tower(self.clip, self.llava)
            if self.worker.leads:
                self._save(number + 1, None)
        self.worker.wait()

    def _save(self, stage: int, within: dict[str, Any] | None) -> None:
        models = {name: model.state_dict() for name, model in self._models.items()}
        recipe = repr(asdict(self.recipe))
        save_checkpoint(self.folder, {"recipe": recipe, "stage": stage, "within": within, "models": models})

    def _draw(self, mix: str) -> None:
        self.mix, self.features, self.pools = mix, {}, {}
        for shard in self.worker.shards:
            self.pools[shard] = draw_pool(
                self.tokenizer,
                first_seed=self.recipe.first_seed(shard, mix),
                n_scenes=self.recipe.n_scenes[mix],
                n_sets=self.recipe.n_sets,
                mix=MIXES[mix],
                has_progress=self.has_progress and self.worker.leads,
            )

    def _stage(self, settings: StageRecipe) -> Stage:
        if settings.name == "clip":
            return ClipStage(self.clip, self.reader, self.pools, self.tokenizer, self.recipe, settings)
        self.llava.model.vision_tower.requires_grad_(False)
        if settings.name == "language":
            return LanguageStage(self.llava, self.pools, self.tokenizer, self.recipe, settings)
        if not self.features:
            self.features = {shard: tower_features(self.llava, pool) for shard, pool in self.pools.items()}
        return ImageStage(self.llava, self.features, self.pools, self.tokenizer, self.recipe, settings)

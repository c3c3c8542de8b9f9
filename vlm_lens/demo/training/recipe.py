"""All numbers of the training, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageRecipe:
    """One stage.

    Attributes:
        name: Its name in checkpoints and logs.
        n_steps: Optimiser steps.
        batch_size: Pictures of one shard in a step.
        peak_rate: Learning rate after the warm-up; it falls to 5% of it on a cosine.
        n_warmup: Steps of the linear warm-up.
        average_decay: Decay of the moving average of the weights, which is what the stage hands on.
        mix: The scenes and questions, by name (`task_mix.MIXES`).
        n_schedule: Steps over which the rate falls, where it is to be still high when the stage ends.
    """

    name: str
    n_steps: int
    batch_size: int
    peak_rate: float
    n_warmup: int = 100
    average_decay: float = 0.998
    mix: str = "basics"
    n_schedule: int | None = None


@dataclass(frozen=True)
class Recipe:
    """The whole training.

    Attributes:
        seed: Seed of weights, order and captions.
        n_shards: A step's gradient is the mean over this many batches, drawn from separate pools. It is fixed, so
            that one worker process or two give the same training, up to rounding.
        n_scenes: Scenes in a shard's pool, by mix.
        n_sets: Sets of turns about each scene.
        contrast_from: The share of the first stage after which the contrastive loss joins the patch loss.
        patch_weight: Weight of the patch loss from then on.
        n_captions: True captions drawn for each picture of a contrastive batch.
        save_every: Steps between checkpoints.
    """

    seed: int = 0
    n_shards: int = 2
    n_scenes: Mapping[str, int] = field(default_factory=lambda: {"basics": 32_000, "relations": 12_000})
    n_sets: int = 3
    contrast_from: float = 0.3
    patch_weight: float = 0.5
    n_captions: int = 3
    save_every: int = 250
    stages: tuple[StageRecipe, ...] = field(
        default=(
            StageRecipe("clip", n_steps=5500, batch_size=32, peak_rate=1e-3),
            StageRecipe("language", n_steps=120, batch_size=16, peak_rate=1.5e-3, n_warmup=20),
            StageRecipe("projector", n_steps=100, batch_size=16, peak_rate=1.5e-3, n_warmup=20),
            StageRecipe("joint", n_steps=1500, batch_size=16, peak_rate=1.2e-3, n_schedule=3400),
            StageRecipe("relations", n_steps=2000, batch_size=16, peak_rate=1e-3, n_warmup=40, mix="relations"),
        )
    )

    def first_seed(self, shard: int, mix: str) -> int:
        """Seed of the first scene of a shard's pool."""
        before = sum(count for name, count in self.n_scenes.items() if name < mix)
        return 1_000_000 * (self.seed + 1) + self.n_shards * before + shard * self.n_scenes[mix]

"""All numbers of the training, in one place."""

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
    """

    name: str
    n_steps: int
    batch_size: int
    peak_rate: float
    n_warmup: int = 100
    average_decay: float = 0.998


@dataclass(frozen=True)
class Recipe:
    """The whole training.

    Attributes:
        seed: Seed of weights, order and captions.
        n_shards: A step's gradient is the mean over this many batches, drawn from separate pools. It is fixed, so
            that one worker process or two give the same training.
        n_scenes: Scenes in a shard's pool.
        n_sets: Sets of turns about each scene.
        n_short: Short turns in a set.
        contrast_from: The share of the first stage after which the contrastive loss joins the patch loss.
        patch_weight: Weight of the patch loss from then on.
        n_captions: True captions drawn for each picture of a contrastive batch.
        save_every: Steps between checkpoints.
    """

    seed: int = 0
    n_shards: int = 2
    n_scenes: int = 32_000
    n_sets: int = 3
    n_short: int = 12
    contrast_from: float = 0.3
    patch_weight: float = 0.5
    n_captions: int = 3
    save_every: int = 250
    stages: tuple[StageRecipe, ...] = field(
        default=(
            StageRecipe("clip", n_steps=5500, batch_size=32, peak_rate=1e-3),
            StageRecipe("language", n_steps=120, batch_size=16, peak_rate=1.5e-3, n_warmup=20),
            StageRecipe("projector", n_steps=100, batch_size=16, peak_rate=1.5e-3, n_warmup=20),
            StageRecipe("joint", n_steps=3400, batch_size=16, peak_rate=1.2e-3),
        )
    )

    def first_seed(self, shard: int) -> int:
        """Seed of the first scene of a shard's pool."""
        return 1_000_000 * (self.seed + 1) + shard * self.n_scenes

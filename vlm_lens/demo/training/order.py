"""Which scenes a step shows: a fresh permutation every epoch, a function of the step alone."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int


@lru_cache(maxsize=8)
def _permutation(n_scenes: int, seed: tuple[int, ...]) -> Int[np.ndarray, " scene"]:
    return np.random.default_rng(seed).permutation(n_scenes)


def scenes_of_step(step: int, batch_size: int, n_scenes: int, *seed: int) -> tuple[Int[np.ndarray, " batch"], int]:
    """The scenes of a step, and its epoch; an epoch's last, incomplete batch is left out."""
    batch_size = min(batch_size, n_scenes)
    epoch, place = divmod(step, n_scenes // batch_size)
    order = _permutation(n_scenes, (*seed, epoch))
    return order[place * batch_size : (place + 1) * batch_size], epoch

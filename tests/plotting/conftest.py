"""Synthetic values for figures: a picture, a lens with markup among its tokens."""

import numpy as np
import pytest

from vlm_lens.plotting import PatchPicture, TopTokens

MARKUP_TOKEN = "<b onclick='x'>%{z}"


@pytest.fixture
def picture() -> PatchPicture:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(40, 60, 3), dtype=np.uint8)
    region = np.zeros((4, 6), dtype=bool)
    region[1:3, 2:5] = True
    return PatchPicture(pixels, 4, 6, region)


@pytest.fixture
def lens() -> TopTokens:
    """Three streams over 4 x 6 patches, three ranks; ten words and a token with markup."""
    rng = np.random.default_rng(1)
    words = np.array([MARKUP_TOKEN, " cat", "\n", *(f" word{number}" for number in range(8))])
    tokens = words[rng.integers(0, len(words), size=(3, 4, 6, 3))]
    probabilities = np.sort(rng.dirichlet(np.ones(3), size=(3, 4, 6)), axis=-1)[..., ::-1]
    return TopTokens(tokens, probabilities.copy())

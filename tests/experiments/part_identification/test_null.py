"""Random logits, scored by the code that scores a model's, against the analytic null."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.experiments.part_identification.scores import scored
from vlm_lens.metrics.null import null_score
from vlm_lens.probes.lens.lens_reading import LensReading
from vlm_lens.probes.lens.lens_statistics import Reduction

D_VOCAB, N_STATES, STD = 32_000, 12, 2.0
SINGLE = {f"one {number}": (100 + number,) for number in range(24)}
SEVERAL = {f"four {number}": tuple(range(200 + 4 * number, 204 + 4 * number)) for number in range(8)}
TARGETS = {**SINGLE, **SEVERAL}


@cache
def reading() -> tuple[Any, LensReading]:
    """A lens that was given normal logits at every patch, after every one of some states."""
    layout = demo().prepare(read_scenes(1)[0].image, "USER: <image>", template="literal").layout
    positions = np.array(layout.image_span().patch_positions)
    random, reduced = torch.Generator().manual_seed(0), Reduction(1, list(TARGETS.values()))
    states = {
        str(state): (
            np.zeros(len(positions), int), positions,
            reduced(STD * torch.randn((len(positions), D_VOCAB), generator=random)),
        )
        for state in range(N_STATES)
    }  # fmt: skip
    return layout, LensReading.of(
        states, tuple(TARGETS), lambda ids: [str(one) for one in ids], layout, (), layout.mask("all").numpy()
    )


def mean_score(n_patches: int, labels: list[str]) -> float:
    """Over labels, states, and regions that share no patch."""
    layout, found = reading()
    side = int(n_patches**0.5)
    regions = [
        layout.patches(rows=slice(row, row + side), cols=slice(column, column + side))
        for row in range(0, 13 - side, side)
        for column in range(0, 13 - side, side)
    ]
    picked = regions[:: max(1, len(regions) // 6)]
    return float(
        np.mean([scored(found, label, region, D_VOCAB, "scattered")[0] for label in labels for region in picked])
    )


@pytest.mark.parametrize(("n_patches", "published"), [(1, 0.10), (4, 0.20), (16, 0.33), (64, 0.46)])
def test_random_logits_score_the_analytic_null(n_patches: int, published: float) -> None:
    found = mean_score(n_patches, list(SINGLE))
    assert found == pytest.approx(null_score(n_patches, D_VOCAB), abs=0.01)
    assert found == pytest.approx(published, abs=0.015)


@pytest.mark.parametrize("n_patches", [1, 16])
def test_with_aliases_the_null_rises_as_computed(n_patches: int) -> None:
    found = mean_score(n_patches, list(SEVERAL))
    assert found == pytest.approx(null_score(n_patches, D_VOCAB, 4, STD), abs=0.015)
    assert found > null_score(n_patches, D_VOCAB) + 0.05


def test_elsewhere_random_logits_score_the_same() -> None:
    layout, found = reading()
    region = layout.patches(rows=slice(0, 4), cols=slice(0, 4))
    null = np.mean([scored(found, label, region, D_VOCAB, "scattered")[1] for label in SINGLE])
    assert null == pytest.approx(null_score(16, D_VOCAB), abs=0.01)

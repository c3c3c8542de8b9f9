"""A grid of patches against numbers of runs of their own."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens import ActivationPatching, HookedVLM, PatchingGrid

NEAR = 3e-6
"""Of the largest value of a grid."""


def assert_near(found: Any, expected: Any) -> None:
    """The same numbers, up to rounding."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=NEAR * float(np.nanmax(np.abs(expected))))


def metric(logits: Tensor) -> Tensor:
    """A number that every logit of the last position moves."""
    return (logits[:, -1] * torch.sin(torch.arange(logits.shape[-1]))).sum()


def grid_of(vlm: HookedVLM, inputs: Any, patching: ActivationPatching) -> PatchingGrid:
    found = vlm.run(inputs, patching)[patching]
    assert isinstance(found, PatchingGrid)
    return found

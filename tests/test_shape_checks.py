"""The annotated shapes are checked while the tests run, and cost a user nothing."""

import subprocess
import sys

import jaxtyping
import pytest
import torch

from vlm_lens.layout.patch_grid import PatchGrid

CALL_WITH_A_WRONG_SHAPE = """
import torch
from vlm_lens.layout.patch_grid import PatchGrid
grid = PatchGrid(4, 4, 8, 8)
try:
    grid.dilate(torch.zeros(2, 4, 4, dtype=torch.bool), 1)
except Exception as error:
    print(type(error).__name__)
"""


def test_a_wrong_shape_is_refused_here() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        PatchGrid(4, 4, 8, 8).dilate(torch.zeros(2, 4, 4, dtype=torch.bool), 1)


def test_nothing_is_checked_outside_the_tests() -> None:
    command = [sys.executable, "-c", CALL_WITH_A_WRONG_SHAPE]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "RuntimeError", "torch's own refusal of a shape, none of jaxtyping's"

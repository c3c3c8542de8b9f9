"""Loading takes little more memory than the weights that are loaded."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.loading import TARGET, measured
from benchmarks.model import random_llava
from benchmarks.sizes import Sizes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages a process owns")
def test_a_checkpoint_in_another_precision_is_converted_weight_by_weight(tmp_path: Path) -> None:
    """The weights of 234 MB in bf16 are owned after it, and never much more; the file of 468 MB is mapped."""
    sizes = Sizes()
    random_llava(sizes).to(torch.float32).save_pretrained(tmp_path)
    found = measured("HookedVLM", tmp_path, "bfloat16", "cpu")
    assert 0.9 <= found["owned_after_over_weights"] <= found["peak_over_weights"] <= TARGET, found

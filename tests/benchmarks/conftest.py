"""One tiny model for all tests of the benchmarks."""

from collections.abc import Iterator

import pytest
import torch

from benchmarks.model import random_inputs, random_llava
from benchmarks.rivals import Rival, Setup, rivals
from tests.benchmarks.tiny import TINY


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def setup() -> Setup:
    return Setup(TINY, random_llava(TINY), random_inputs(TINY))


@pytest.fixture(scope="session")
def everyone(setup: Setup) -> list[Rival]:
    return rivals(setup)

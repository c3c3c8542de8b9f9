"""What every test stands on: one thread a worker, no network, no deadline."""

import os
import socket

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported anywhere
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import pytest
import torch

torch.set_num_threads(1)

hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")

_connect = socket.socket.connect


def _connect_to_this_machine(self: socket.socket, address: object) -> None:
    """Connects to this machine only: a test that reaches further fails."""
    is_remote = isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost")
    if is_remote:
        raise OSError(f"a test tried to reach {address[0]}")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> object:
    """Closes the network for the whole session."""
    socket.socket.connect = _connect_to_this_machine  # type: ignore[method-assign]
    yield
    socket.socket.connect = _connect  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, in whatever order they run."""
    torch.manual_seed(0)

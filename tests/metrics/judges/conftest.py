"""A server that answers, and a key in the environment."""

from collections.abc import Iterator

import pytest

from tests.metrics.judges.chat_server import ChatServer, serving

KEY = "sk-secret-4711"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as found:
        yield found


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEST_CHAT_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return KEY

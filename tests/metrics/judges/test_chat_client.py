"""A chat client against a local server that is slow, wrong, closed, busy or silent."""

import logging
import math
import pickle
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.judges.chat_server import ChatServer, Reply, refused, said, serving
from vlm_lens.errors import InputError, JudgeError
from vlm_lens.metrics.judges import ChatClient

Make = Callable[..., ChatClient]


@pytest.fixture
def make(server: ChatServer, key: str, tmp_path: Path) -> Make:
    def made(**settings: Any) -> ChatClient:
        given = {"base_url": server.address, "api_key_env": "TEST_CHAT_KEY", "max_retries": 1, "cache_folder": tmp_path}
        return ChatClient("a-model", **{**given, **settings})

    return made


def test_a_question_is_sent_with_its_settings_and_key(server: ChatServer, make: Make, key: str) -> None:
    server.replies = [said("Hello.")]
    assert make(max_tokens=9).ask("Hi?") == "Hello."
    message = {"role": "user", "content": "Hi?"}
    assert server.asked == [{"model": "a-model", "messages": [message], "temperature": 0.0, "seed": 0, "max_tokens": 9}]
    assert server.keys == [f"Bearer {key}"]


def test_what_is_asked_again_comes_from_the_cache(server: ChatServer, make: Make) -> None:
    server.replies = [said("one"), said("two"), said("three")]
    client = make()
    assert [client.ask("A"), client.ask("A"), client.ask("B"), make().ask("A")] == ["one", "one", "two", "one"]
    assert len(server.asked) == 2
    assert (client.cost.n_asked, client.cost.n_cached) == (2, 1)
    assert make(temperature=1.0).ask("A") == "three"


def test_another_model_is_asked_anew(server: ChatServer, make: Make, tmp_path: Path) -> None:
    server.replies = [said("one"), said("two")]
    make().ask("A")
    other = ChatClient("another", server.address, "TEST_CHAT_KEY", cache_folder=tmp_path)
    assert other.ask("A") == "two"


def test_without_a_cache_nothing_is_kept(server: ChatServer, make: Make, tmp_path: Path) -> None:
    server.replies = [said("one"), said("two")]
    client = make(cache_folder=None)
    assert [client.ask("A"), client.ask("A")] == ["one", "two"]
    assert not list(tmp_path.iterdir())


def test_an_empty_answer_is_not_remembered(server: ChatServer, make: Make) -> None:
    server.replies = [said(None), said(""), said("three")]
    assert [make().ask("A"), make().ask("A"), make().ask("A")] == ["", "", "three"]


def test_what_is_forgotten_is_asked_again(server: ChatServer, make: Make) -> None:
    server.replies = [said("one"), said("two")]
    client = make()
    client.ask("A")
    client.forget(["A"])
    assert client.ask("A") == "two"


def test_a_slow_server_is_asked_again(server: ChatServer, make: Make) -> None:
    server.replies = [Reply("", after=math.inf), said("at last")]
    assert make(timeout=1.0).ask("A") == "at last"
    assert len(server.asked) == 2


def test_a_server_that_never_answers_is_given_up(server: ChatServer, make: Make) -> None:
    server.replies = [Reply("", after=math.inf)]
    with pytest.raises(JudgeError, match=r"expected an answer, got none in 0.1 s, 2 times\. Give it a longer timeout="):
        make(timeout=0.1).ask("A")
    assert len(server.asked) == 2


def test_a_busy_server_is_asked_again_when_it_says_so(
    server: ChatServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", waits.append)
    server.replies = [refused(429, "slow down", Retry_After="17"), refused(503, Retry_After="3"), said("now")]
    assert make(max_retries=2).ask("A") == "now"
    assert waits == [17.0, 3.0] and len(server.asked) == 3


def test_a_server_that_stays_busy_is_said_to_be(server: ChatServer, make: Make) -> None:
    server.replies = [refused(429, "slow down", Retry_After="0.01")]
    with pytest.raises(JudgeError, match=r"429: .*slow down.* It was asked 2 times\. Wait, or give more max_retries="):
        make().ask("A")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_said_by_the_name_of_its_variable(server: ChatServer, make: Make, status: int) -> None:
    server.replies = [refused(status)]
    with pytest.raises(JudgeError, match=rf"a key that it accepts, got {status}: .*environment variable TEST_CHAT_KEY"):
        make().ask("A")
    assert len(server.asked) == 1


def test_a_model_that_the_server_does_not_have_is_said(server: ChatServer, make: Make) -> None:
    server.replies = [refused(404, "no model a-model")]
    with pytest.raises(JudgeError, match=r"Chat model 'a-model' at http://127.*404: .*no model a-model"):
        make().ask("A")


def test_a_closed_port_is_said_with_its_address(key: str) -> None:
    with serving() as gone:
        address = gone.address
    client = ChatClient("a-model", address, "TEST_CHAT_KEY", max_retries=0, cache_folder=None)
    with pytest.raises(
        JudgeError, match=rf"at {address}: expected a server that can be reached, got .*refused"
    ) as error:
        client.ask("A")
    assert error.value.__context__ is None  # it would hold the request, with the key


@pytest.mark.parametrize("body", ["", "<html>hello</html>", '{"choices": []}', '{"choices": [{}]}', "[1]", '{"cho'])
def test_what_is_no_answer_is_asked_again_and_then_said(server: ChatServer, make: Make, body: str) -> None:
    server.replies = [Reply(body)]
    with pytest.raises(
        JudgeError, match=r"expected an answer in the form of a chat completion, got .*Is base_url right"
    ):
        make(max_retries=0).ask("A")
    server.replies = [Reply(body), said("better")]
    assert make().ask("A") == "better"


def test_the_cost_is_counted_in_tokens_and_dollars(server: ChatServer, make: Make) -> None:
    server.replies = [said("one"), said("two", {"prompt_tokens": 500, "completion_tokens": 50})]
    client = make(prices=(2.0, 10.0))
    client.ask("A"), client.ask("A"), client.ask("B")
    assert (client.cost.prompt_tokens, client.cost.answer_tokens) == (1500, 250)
    assert client.cost.dollars == pytest.approx((1500 * 2 + 250 * 10) / 1e6)
    assert str(client.cost) == "2 answers (1,500 tokens read, 250 written; $0.0055), 1 more from the cache"


def test_a_cost_that_is_not_known_is_none(server: ChatServer, make: Make) -> None:
    server.replies = [said("one"), said("two", usage={})]
    without_prices, with_prices = make(), make(prices=(2.0, 10.0), cache_folder=None)
    without_prices.ask("A")
    with_prices.ask("B")
    assert without_prices.cost.dollars is None and with_prices.cost.dollars is None


def test_the_key_stands_nowhere(
    server: ChatServer, make: Make, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.replies = [said("fine"), refused(401, f"Incorrect API key provided: {key}"), Reply(f"you sent {key}")]
    client = make(max_retries=0)
    client.ask("A")
    errors = []
    for question in ("B", "C"):
        with pytest.raises(JudgeError) as error:
            client.ask(question)
        errors.append(error.value)
    assert "***" in str(errors[0]) and "***" in str(errors[1])
    assert all(error.__cause__ is None and error.__context__ is None for error in errors)
    told = [repr(client), repr(vars(client)), caplog.text, *map(str, errors), *map(repr, errors)]
    assert not any(key in text for text in told)
    assert all(key.encode() not in pickle.dumps(one) for one in (client, *errors))
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(key.encode() in data for data in files)
    assert not any(key.encode() in unpacked(data) for data in files)


def unpacked(data: bytes) -> bytes:
    """All that zlib has packed anywhere in some bytes."""
    found = b""
    for start in range(len(data)):
        if data[start : start + 2] in (b"x\x01", b"x\x9c", b"x\xda"):
            try:
                found += zlib.decompressobj().decompress(data[start:])
            except zlib.error:
                continue
    return found


def test_the_answers_on_disk_are_those_that_the_search_for_the_key_reads(
    server: ChatServer, make: Make, tmp_path: Path
) -> None:
    server.replies = [said("a word that can be found")]
    make().ask("A")
    data = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"a word that can be found" in unpacked(one) for one in data)


def test_a_missing_key_is_said_before_anything_is_sent(
    server: ChatServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_CHAT_KEY")
    with pytest.raises(JudgeError, match=r"a key in the environment variable TEST_CHAT_KEY, got none"):
        make().ask("A")
    assert not server.asked


def test_a_key_of_odd_characters_is_refused_without_showing_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_CHAT_KEY", "schlüssel")
    with pytest.raises(JudgeError, match="a key of plain characters") as error:
        make().ask("A")
    assert "schlüssel" not in str(error.value)


def test_an_endpoint_without_a_key_gets_none_of_the_environment(
    server: ChatServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-place")
    server.replies = [said("fine")]
    assert make(api_key_env=None).ask("A") == "fine"
    assert server.keys == ["Bearer none"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:8000"}, "an address such as"),
        ({"base_url": "http://me:sk-1@localhost/v1"}, "without a user, password or query"),
        ({"base_url": "http://localhost/v1?key=sk-1"}, "without a user, password or query"),
        ({"api_key_env": "sk-1-typed-here"}, "the name of an environment variable"),
        ({"timeout": 0.0}, "timeout above 0"),
        ({"max_retries": -1}, "max_retries of 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_secrets_in_them_not_repeated(
    make: Make, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        make(**settings)
    assert "sk-1" not in str(error.value)


@pytest.mark.parametrize("library", ["openai", "diskcache"])
def test_a_missing_library_is_said_with_the_extra(
    server: ChatServer, make: Make, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(JudgeError, match=rf"the library {library}, got none.*vlm-lens\[chat\]"):
        make().ask("A")


def test_a_folder_that_cannot_be_written_is_said(server: ChatServer, make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(JudgeError, match=r"Answers on disk: expected a folder that can be read and written"):
        make(cache_folder=tmp_path / "file").ask("A")


def test_a_broken_cache_is_said(server: ChatServer, make: Make, tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(JudgeError, match=r"Answers on disk: .*not a database"):
        make().ask("A")

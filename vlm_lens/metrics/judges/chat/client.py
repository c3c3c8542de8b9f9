"""A language model behind any endpoint that speaks OpenAI's protocol: one question, one answer, remembered on disk."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vlm_lens.errors import InputError, JudgeError
from vlm_lens.metrics.judges.chat.cost import Cost, Tally
from vlm_lens.metrics.judges.chat.libraries import chat_library
from vlm_lens.metrics.judges.chat.reply_cache import default_folder, forget, key_of, remember, remembered

OPENAI = "https://api.openai.com/v1"
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_MOST_SHOWN = 200


@dataclass(frozen=True, eq=False)
class ChatClient:
    """A language model that answers messages.

    The key is read from the environment for each question, is sent to `base_url`, and stands nowhere else: in no
    attribute, error or file. Failed tries are repeated after growing waits, or after the wait that the server asks for
    (`Retry-After`, up to two minutes).

    Attributes:
        model: its name at the endpoint.
        base_url: where it is: "http://localhost:8000/v1".
        api_key_env: the environment variable with the key; None for an endpoint that needs none.
        timeout: seconds until a try is given up.
        max_retries: tries after the first one.
        temperature: 0 for the likeliest answer; None leaves it to the endpoint.
        seed: of the endpoint's sampling; None leaves it out.
        max_tokens: of an answer; None leaves it to the endpoint.
        prices: dollars for a million tokens read, and for a million written.
        cache_folder: where answers are kept, by what was asked of which model; None keeps none.

    Raises:
        InputError: settings that cannot be.
    """

    model: str
    base_url: str = OPENAI
    api_key_env: str | None = "OPENAI_API_KEY"
    timeout: float = 60.0
    max_retries: int = 5
    temperature: float | None = 0.0
    seed: int | None = 0
    max_tokens: int | None = None
    prices: tuple[float, float] | None = None
    cache_folder: str | Path | None = field(default_factory=default_folder)
    _tally: Tally = field(default_factory=Tally, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("Chat model", "the name of a model", repr(self.model))
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("Chat endpoint", "an address such as http://localhost:8000/v1", "another form")
        if parts.username or parts.password or parts.query:
            # The address goes into specs and errors.
            advice = "Put the key into an environment variable and name it with api_key_env=."
            raise InputError("Chat endpoint", "an address without a user, password or query", parts.hostname, advice)
        if self.api_key_env is not None and not self.api_key_env.isidentifier():
            raise InputError("Chat model", "api_key_env to be the name of an environment variable", "something else")
        if not (math.isfinite(self.timeout) and self.timeout > 0) or self.max_retries < 0:
            got = f"timeout={self.timeout}, max_retries={self.max_retries}"
            raise InputError("Chat model", "timeout above 0 and max_retries of 0 or more", got)

    @property
    def cost(self) -> Cost:
        """What was spent since this object was made."""
        return self._tally.cost(self.prices)

    def ask(self, messages: str | Sequence[Mapping[str, str]]) -> str:
        """The answer to messages, or to one text; from the cache where it was given before.

        Raises:
            JudgeError: no key, a refusal, no answer in time, an answer that is none, or a cache that cannot be used.
        """
        asked = self._asked(messages)
        folder = None if self.cache_folder is None else Path(self.cache_folder)
        if folder is not None:
            known = remembered(folder, key_of(asked))
            if known is not None:
                self._tally.n_cached += 1
                return known
        answer = self._answer(asked["body"])
        if folder is not None and answer:
            remember(folder, key_of(asked), answer)
        return answer

    def forget(self, asked: Sequence[str | Sequence[Mapping[str, str]]]) -> None:
        """Drops the answers to these messages from the cache, so that they are asked again."""
        if self.cache_folder is not None:
            forget(Path(self.cache_folder), [key_of(self._asked(messages)) for messages in asked])

    def _asked(self, messages: str | Sequence[Mapping[str, str]]) -> dict[str, Any]:
        told = [{"role": "user", "content": messages}] if isinstance(messages, str) else [dict(one) for one in messages]
        settings = {"temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}
        body: dict[str, Any] = {"model": self.model, "messages": told}
        body.update({name: value for name, value in settings.items() if value is not None})
        return {"base_url": self.base_url, "body": body}

    def _answer(self, body: Mapping[str, Any]) -> str:
        """What the server answers; a body that is no answer is asked for again, as a failed try is."""
        key = self._key()
        for n_failed in range(self.max_retries + 1):
            text = self._sent(body, key)
            found = _read(text)
            if found is not None:
                answer, usage = found
                self._tally.add(usage)
                return answer
            if n_failed < self.max_retries:
                time.sleep(min(_FIRST_WAIT * 2**n_failed, _LONGEST_WAIT))
        got = without(key, text[:_MOST_SHOWN])
        raise JudgeError(self._named, "an answer in the form of a chat completion", repr(got), "Is base_url right?")

    def _sent(self, body: Mapping[str, Any], key: str) -> str:
        """The body of the server's reply."""
        openai = chat_library("openai")
        settings = {"base_url": self.base_url, "timeout": self.timeout, "max_retries": self.max_retries}
        try:
            with openai.OpenAI(api_key=key, **settings) as client:
                return client.chat.completions.with_raw_response.create(**body).http_response.text
        except openai.APIStatusError as error:
            failed = self._refused(error.status_code, without(key, str(error.message)))
        except openai.APITimeoutError:
            got = f"none in {self.timeout:g} s, {self.max_retries + 1} times"
            failed = JudgeError(self._named, "an answer", got, "Give it a longer timeout=, or look at the server.")
        except openai.APIConnectionError as error:
            why = without(key, str(error.__cause__ or error))
            failed = JudgeError(self._named, "a server that can be reached", why, "Is base_url right?")
        # Raised here: an error's context would keep the request, and with it the key.
        raise failed

    def _refused(self, status: int, message: str) -> JudgeError:
        got = f"{status}: {message[:_MOST_SHOWN]}"
        if status in (401, 403):
            place = "api_key_env=" if self.api_key_env is None else f"the environment variable {self.api_key_env}"
            return JudgeError(self._named, "a key that it accepts", got, f"Set {place}.")
        if status == 429:
            advice = f"It was asked {self.max_retries + 1} times. Wait, or give more max_retries=."
            return JudgeError(self._named, "an answer", got, advice)
        return JudgeError(self._named, "an answer", got)

    def _key(self) -> str:
        if self.api_key_env is None:
            return "none"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            advice = "Set it, or api_key_env=None for an endpoint that needs no key."
            raise JudgeError(self._named, f"a key in the environment variable {self.api_key_env}", "none", advice)
        if not (key.isascii() and key.isprintable()):
            raise JudgeError(
                self._named, f"a key of plain characters in {self.api_key_env}", "others", "Copy it again."
            )
        return key

    @property
    def _named(self) -> str:
        return f"Chat model {self.model!r} at {self.base_url}"


def _read(text: str) -> tuple[str, Any] | None:
    """The answer in a chat completion, and what it says of its tokens; None where the text is no chat completion."""
    try:
        reply = json.loads(text)
        answer = reply["choices"][0]["message"]["content"]
    except (json.JSONDecodeError, LookupError, TypeError):
        return None
    return (answer or "", reply.get("usage")) if answer is None or isinstance(answer, str) else None


def without(key: str, text: str) -> str:
    """A server's words without the key: some repeat it."""
    return text.replace(key, "***") if key != "none" else text

"""A language model that reads a description in the place of the picture: the baseline Describe-to-LLM."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs.templates import has_chat_template
from vlm_lens.metrics.judges import ChatClient, judge_named
from vlm_lens.metrics.judges.chat.cost import Cost

NONE, SELF, CHAT = "none", "self", "chat:"


class LanguageModel(ABC):
    """Answers prompts without a picture."""

    @abstractmethod
    def answers(self, prompts: Sequence[str]) -> list[tuple[str, int]]:
        """To each prompt the answer, and how many tokens the prompt was."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What decides its answers, for the specification of a run."""


@dataclass(frozen=True)
class OwnDecoder(LanguageModel):
    """The decoder of the model itself, which reads text alone.

    Attributes:
        vlm: whose decoder.
        template: how prompts are written; None for the checkpoint's own way.
        max_new_tokens: of an answer.
    """

    vlm: HookedVLM
    template: str | None
    max_new_tokens: int

    def answers(self, prompts: Sequence[str]) -> list[tuple[str, int]]:
        """One batch, greedily."""
        template = self.template or ("chat" if has_chat_template(self.vlm.processor) else "llava")
        inputs = self.vlm.prepare([None] * len(prompts), list(prompts), template=template)
        found = self.vlm.generate(inputs, max_new_tokens=self.max_new_tokens)
        return list(zip(found.texts, map(int, inputs.attention_mask.sum(dim=1)), strict=True))

    def fingerprint(self) -> str:
        """Nothing but its name: the model is in the specification already."""
        return SELF


@dataclass(frozen=True)
class Endpoint(LanguageModel):
    """A language model at an endpoint that speaks OpenAI's protocol.

    Tokens are counted by the tokenizer of the model that described: an endpoint's own count would be missing for
    answers that are remembered.

    Attributes:
        client: asks it, and remembers its answers on disk.
        vlm: whose tokenizer counts.
    """

    client: ChatClient
    vlm: HookedVLM

    @property
    def cost(self) -> Cost:
        """What was spent since the client was made."""
        return self.client.cost

    def answers(self, prompts: Sequence[str]) -> list[tuple[str, int]]:
        """One after the other."""
        return [(self.client.ask(prompt), self.vlm.to_tokens(prompt).shape[1]) for prompt in prompts]

    def fingerprint(self) -> str:
        """Model, address and settings."""
        client = self.client
        settings = f"temperature={client.temperature}, seed={client.seed}, max_tokens={client.max_tokens}"
        return f"chat(model={client.model}, base_url={client.base_url}, {settings})"


def language_model_named(vlm: HookedVLM, options: Any) -> LanguageModel | None:
    """Who reads descriptions; None where nobody does.

    Args:
        vlm: the model that describes.
        options: with `llm`, `template`, `answer_tokens`.

    Raises:
        InputError: a language model that does not exist.
    """
    if options.llm == NONE:
        return None
    if options.llm == SELF:
        return OwnDecoder(vlm, options.template, options.answer_tokens)
    client = judge_named(options.llm) if options.llm.startswith(CHAT) else None
    if not isinstance(client, ChatClient):
        advice = "Such as chat:llama-3@http://localhost:8000/v1."
        raise InputError("Option 'llm'", f"{NONE!r}, {SELF!r} or '{CHAT}MODEL@ADDRESS'", repr(options.llm), advice)
    return Endpoint(client, vlm)

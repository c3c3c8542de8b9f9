"""A judge that asks a language model, with the paper's prompt."""

from dataclasses import dataclass

from vlm_lens.errors import InputError, JudgeError
from vlm_lens.metrics.judges.chat.client import ChatClient
from vlm_lens.metrics.judges.chat.mentions import mentions_of
from vlm_lens.metrics.judges.chat.prompt import prompt_digest, prompt_for
from vlm_lens.metrics.judges.chat.reply import Verdict, read_reply
from vlm_lens.metrics.judges.judge import Comparison, Judge, NamedObject


@dataclass(frozen=True, eq=False)
class ChatJudge(ChatClient, Judge):
    """A language model that lists the objects of two captions and matches them, step by step.

    Its reply is read strictly. One that is not in the prompt's form goes back with what is wrong with it.

    Attributes:
        n_attempts: replies that are read before the judge gives up.

    Source: "What's in the Image?", 2024, section 4.2 and appendix B.

    Example:
        >>> ChatJudge("gpt-4o-mini", prices=(0.15, 0.60), cache_folder=None).cost.dollars
        0.0
    """

    n_attempts: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_attempts < 1:
            raise InputError("ChatJudge", "n_attempts of 1 or more", self.n_attempts)

    def compare(self, reference: str, candidate: str) -> Comparison:
        """The objects of a caption, and what another one keeps, loses and adds.

        Raises:
            JudgeError: what asking raises, or no reply in the prompt's form in `n_attempts`. The next call asks anew.
        """
        messages = [{"role": "user", "content": prompt_for(reference, candidate)}]
        asked = []
        for _ in range(self.n_attempts):
            asked.append(tuple(messages))
            reply = self.ask(messages)
            try:
                return _comparison(read_reply(reply), reference, candidate)
            except JudgeError as error:
                wrong = error
            again = (
                f"This cannot be read: expected {wrong.expected}, got {wrong.got}. Write the whole evaluation again."
            )
            messages += [{"role": "assistant", "content": reply or "None"}, {"role": "user", "content": again}]
        self.forget(asked)
        expected = f"an evaluation in the prompt's form: {wrong.expected}"
        raise JudgeError(self._named, expected, wrong.got, f"It was asked {self.n_attempts} times.")

    def fingerprint(self) -> str:
        settings = f"temperature={self.temperature}, seed={self.seed}, max_tokens={self.max_tokens}"
        return f"chat(model={self.model}, base_url={self.base_url}, {settings}, prompt={prompt_digest()})"


def _comparison(verdict: Verdict, reference: str, candidate: str) -> Comparison:
    firsts = {name: NamedObject(name, mentions_of(name, reference)) for name in verdict.reference}
    seconds = {name: NamedObject(name, mentions_of(name, candidate)) for name in verdict.candidate}
    matched = [(firsts[one], seconds[other]) for one, other in verdict.matched]
    return Comparison.of(list(firsts.values()), list(seconds.values()), matched)

"""What a run says of an answer, as one number a row: difference of logits, probability, log-probability."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.layout import TokenLayout
from vlm_lens.probes.answer import Contrast, Target, contrasts_of, warn_of_spelling


@dataclass(frozen=True, repr=False)
class AnswerMetric(ABC):
    """A number for each row from the logits at its last prompt position.

    Attributes:
        target: the answer: a token as a string or id, several together, or `{row: target}`.
    """

    target: Target

    @abstractmethod
    def of(self, logits: Float[Tensor, " d_vocab"], answer: Contrast) -> Float[Tensor, ""]:
        """The number of one row."""

    def values(self, logits: Float[Tensor, "batch d_vocab"], answers: Sequence[Contrast]) -> Float[Tensor, " batch"]:
        """The numbers of all rows."""
        return torch.stack([self.of(row, answer) for row, answer in zip(logits.float(), answers, strict=True)])

    def answers(self, model: Any, n_rows: int) -> tuple[Contrast, ...]:
        """The tokens of each row.

        Raises:
            InputError: none, a text that is several tokens, an id outside the vocabulary.
            PositionError: `{row: target}` for other rows than there are.
        """
        if self.target is None:
            raise InputError(f"Target of {self!r}", "a token", "None", "Say the answer: ' Yes'.")
        return contrasts_of(model, self.target, self._against, n_rows)

    def warn_of_spelling(self, model: Any, logits: Float[Tensor, "batch d_vocab"]) -> None:
        """Warn of an answer whose other spelling, with a leading space or without, the model would rather say."""
        warn_of_spelling(model, self.target, self._against, logits=logits)

    @property
    def _against(self) -> Target:
        """The other answer, of metrics that have one."""
        return getattr(self, "against", None)

    def __repr__(self) -> str:
        """As one writes it: columns of tables and axes of figures are called so."""
        against = "" if self._against is None else f", {self._against!r}"
        return f"{type(self).__name__}({self.target!r}{against})"


@dataclass(frozen=True, repr=False)
class LogitDifference(AnswerMetric):
    """The logit of the target less that of another answer; of several tokens the mean.

    Attributes:
        against: the other answer; None for the target's logit alone.
    """

    against: Target = None

    def of(self, logits: Float[Tensor, " d_vocab"], answer: Contrast) -> Float[Tensor, ""]:
        """A difference of logits."""
        return answer.of(logits)


@dataclass(frozen=True, repr=False)
class LogProbability(AnswerMetric):
    """The natural logarithm of the target's probability; of several tokens their probabilities are summed."""

    def of(self, logits: Float[Tensor, " d_vocab"], answer: Contrast) -> Float[Tensor, ""]:
        """At most 0."""
        return logits.log_softmax(dim=-1)[list(answer.plus)].logsumexp(dim=0)


@dataclass(frozen=True, repr=False)
class Probability(LogProbability):
    """The target's probability; of several tokens the sum."""

    def of(self, logits: Float[Tensor, " d_vocab"], answer: Contrast) -> Float[Tensor, ""]:
        """From 0 to 1."""
        return super().of(logits, answer).exp()


def last_logits(
    logits: Float[Tensor, "batch pos d_vocab"], layout: TokenLayout | None
) -> Float[Tensor, "batch d_vocab"]:
    """The logits at each row's last prompt position; the last column where positions are unknown or only it was run."""
    if layout is None or logits.shape[1] == 1:
        return logits[:, -1]
    last = [layout.positions("last", row)[0] for row in range(layout.n_rows)]
    return logits[torch.arange(len(last), device=logits.device), torch.tensor(last, device=logits.device)]

"""What is kept of every condition: logits, an answer's probability, what probes find, or generated text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlm_lens.attachments.attachment import Reader
from vlm_lens.errors import InputError
from vlm_lens.layout import Selector
from vlm_lens.model.sampling import Sampling
from vlm_lens.probes.patching.answer_metrics import AnswerMetric


@dataclass(frozen=True, eq=False)
class Logits:
    """The logits at some positions of the prompt: `[batch d_vocab]` for the last, else `[batch pos d_vocab]`.

    Attributes:
        positions: where; in a batch, the columns where any row has one.
    """

    positions: Selector = "last"


@dataclass(frozen=True, eq=False)
class Generated:
    """A continuation of the prompt under each condition.

    Attributes:
        max_new_tokens: at most so many tokens.
        eos_token_id: see `vlm.generate`.
        sampling: `do_sample`, `seed` and other fields of `Sampling`.
    """

    max_new_tokens: int = 50
    eos_token_id: Any = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise InputError("max_new_tokens", "at least 1", self.max_new_tokens)
        Sampling(**self.sampling)


@dataclass(frozen=True, eq=False)
class Readings:
    """Everything that is read of every condition.

    Attributes:
        logits: where logits are kept; None where they are not.
        metrics: numbers made of the logits at the last position.
        probes: attached to every condition, after its own objects.
        generated: how to continue; None to read the prompt alone.
    """

    logits: Logits | None = None
    metrics: tuple[AnswerMetric, ...] = ()
    probes: tuple[Reader, ...] = ()
    generated: Generated | None = None

    @classmethod
    def of(cls, read: Any) -> "Readings":
        """From what a user gives: "logits", `Logits(...)`, a metric, a probe, `Generated(...)`, several, or None.

        Raises:
            InputError: something else, two of what there is one of, or logits beside generated text.
        """
        given = () if read is None else tuple(read) if isinstance(read, list | tuple) else (read,)
        given = tuple(Logits() if isinstance(one, str) and one == "logits" else one for one in given)
        kinds = (Logits, AnswerMetric, Reader, Generated)
        if wrong := [one for one in given if not isinstance(one, kinds)]:
            rule = (
                "'logits', Logits(positions), Probability(' Yes'), a probe, Generated(max_new_tokens=...), or several"
            )
            raise InputError("read of a sweep", rule, repr(wrong[0]), "None reads what the conditions' probes find.")
        logits, generated = [o for o in given if isinstance(o, Logits)], [o for o in given if isinstance(o, Generated)]
        metrics = tuple(one for one in given if isinstance(one, AnswerMetric))
        probes = tuple(one for one in given if isinstance(one, Reader))
        if len(logits) > 1 or len(generated) > 1 or len({id(one) for one in probes}) != len(probes):
            raise InputError("read of a sweep", "logits, text and each probe once", repr(list(given)))
        if generated and (logits or metrics):
            advice = "A generation has the logits of each token: results[name].generation.logits."
            raise InputError("read of a sweep", "logits, or Generated(...)", "both", advice)
        return cls(logits[0] if logits else None, metrics, probes, generated[0] if generated else None)

    @property
    def wanted(self) -> Selector | None:
        """The positions whose logits must be computed."""
        if self.generated is not None:
            return "last"
        if self.metrics:
            return "last" if self.logits is None else ["last", self.logits.positions]
        return None if self.logits is None else self.logits.positions

"""What is kept of every condition: logits, an answer's probability, what probes find, or generated text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.attachments.attachment import Reader
from vlm_lens.errors import InputError
from vlm_lens.layout import Selector, TokenLayout
from vlm_lens.model.sampling import Sampling
from vlm_lens.probes.patching.answer_metrics import AnswerMetric


@dataclass(frozen=True, eq=False)
class Logits:
    """The logits at some positions of the prompt: `[batch d_vocab]` for the last, else `[batch pos d_vocab]`.

    Attributes:
        positions: where; in a batch, the columns where any row has one.

    Example:
        >>> Logits("question")
        Logits(positions='question')
    """

    positions: Selector = "last"

    @property
    def is_last(self) -> bool:
        """Whether the last position of each row is read, and no other."""
        return isinstance(self.positions, str) and self.positions == "last"

    def columns(self, layout: TokenLayout) -> Int[np.ndarray, " pos"]:
        """The positions that are read of any row, ascending."""
        return np.flatnonzero(layout.mask(self.positions).any(dim=0).numpy())


@dataclass(frozen=True, eq=False)
class Generated:
    """A continuation of the prompt under each condition.

    Attributes:
        max_new_tokens: at most so many tokens.
        eos_token_id: see `vlm.generate`.
        sampling: `do_sample`, `seed` and other fields of `Sampling`.

    Raises:
        InputError: no tokens, or a sampling that makes no sense.

    Example:
        >>> Generated(max_new_tokens=8, sampling={"do_sample": True, "seed": 1})
        Generated(max_new_tokens=8, eos_token_id=None, sampling={'do_sample': True, 'seed': 1})
    """

    max_new_tokens: int = 50
    eos_token_id: Any = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.max_new_tokens, bool) or not isinstance(self.max_new_tokens, int) or self.max_new_tokens < 1:
            raise InputError("max_new_tokens of Generated", "a number, at least 1", repr(self.max_new_tokens))
        known = list(Sampling.__dataclass_fields__)
        if not isinstance(self.sampling, Mapping) or set(self.sampling) - set(known):
            raise InputError("sampling of Generated", f"a mapping with {', '.join(known)}", repr(self.sampling))
        Sampling(**self.sampling)

    @property
    def options(self) -> dict[str, Any]:
        """What `vlm.generate` is given for the same continuation."""
        return {"max_new_tokens": self.max_new_tokens, "eos_token_id": self.eos_token_id, **self.sampling}


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
            raise InputError("read of a sweep", "logits and metrics, or Generated(...)", repr(list(given)), advice)
        return cls(logits[0] if logits else None, metrics, probes, generated[0] if generated else None)

    @property
    def wanted(self) -> Selector | None:
        """The positions whose logits must be computed."""
        if self.generated is not None:
            return "last"
        if self.metrics:
            return "last" if self.logits is None else ["last", self.logits.positions]
        return None if self.logits is None else self.logits.positions

    def kept_of(
        self,
        model: Any,
        found: Sequence[Float[Tensor, "batch pos d_vocab"]],
        columns: Int[np.ndarray, " pos"],
        layout: TokenLayout,
    ) -> list[tuple[Float[Tensor, "..."] | None, dict[str, Float[Tensor, " batch"]]]]:
        """For each condition the logits that are kept and what each metric says, brought to the CPU together.

        Args:
            model: what ran.
            found: of each condition the logits at the positions that were wanted, or at more.
            columns: which positions these are, ascending.
            layout: whose positions these are.
        """
        logits: Sequence[Tensor | None] = [None] * len(found)
        values: dict[str, Tensor] = {}
        is_last = self.logits is not None and self.logits.is_last
        if self.metrics or is_last:
            last = _at_last(found, columns, layout)
            for metric in self.metrics:
                answers = metric.answers(model, layout.n_rows) * len(found)
                numbers = metric.values(
                    rearrange(last, "condition batch d_vocab -> (condition batch) d_vocab"), answers
                )
                values[repr(metric)] = rearrange(
                    numbers.cpu(), "(condition batch) -> condition batch", batch=layout.n_rows
                )
            logits = last.cpu().unbind() if is_last else logits
        if self.logits is not None and not is_last:
            kept = torch.from_numpy(np.searchsorted(columns, self.logits.columns(layout)))
            logits = [one[:, kept.to(one.device)].cpu() for one in found]
        return [(one, {name: value[place] for name, value in values.items()}) for place, one in enumerate(logits)]


def _at_last(
    found: Sequence[Float[Tensor, "batch pos d_vocab"]], columns: Int[np.ndarray, " pos"], layout: TokenLayout
) -> Float[Tensor, "condition batch d_vocab"]:
    """The logits at each row's last prompt position."""
    last = layout.mask("last")
    places = np.searchsorted(columns, [int(row.nonzero()[-1]) for row in last])
    rows, device = torch.arange(len(places)), found[0].device
    index = rows.to(device), torch.from_numpy(places).to(device)
    return torch.stack([one[index] for one in found])

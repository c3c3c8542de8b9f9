"""How the next token is chosen from the logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from the logits.

    Attributes:
        do_sample: draw at random; else the most probable token.
        temperature: what logits are divided by before drawing.
        top_k: draw from this many most probable tokens; None for all.
        top_p: draw from the fewest most probable tokens that hold this much probability; None for all.
        seed: of the draws; None for torch's own random state.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise InputError("temperature", "more than 0", self.temperature, "Leave out do_sample for the arg-max.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError("top_p", "more than 0 and at most 1", self.top_p)
        if self.top_k is not None and self.top_k < 1:
            raise InputError("top_k", "at least 1", self.top_k)

        changed = [name for name, default in (("temperature", 1.0), ("top_k", None), ("top_p", None))
                   if getattr(self, name) != default]  # fmt: skip
        if changed and not self.do_sample:
            advice = "Say do_sample=True."
            raise InputError(f"{' and '.join(changed)} without sampling", "do_sample=True", "do_sample=False", advice)

    def chosen(
        self, logits: Float[Tensor, "batch d_vocab"], generator: torch.Generator | None
    ) -> Int[Tensor, " batch"]:
        """One token for each row."""
        if not self.do_sample:
            return logits.argmax(dim=-1)
        logits = logits.float() / self.temperature
        if self.top_k is not None:
            least = logits.topk(min(self.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        probabilities = logits.softmax(dim=-1)
        if self.top_p is not None:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            is_beyond = (ordered.cumsum(dim=-1) - ordered) >= self.top_p
            probabilities = torch.zeros_like(ordered).scatter(-1, order, ordered.masked_fill(is_beyond, 0.0))
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

"""What a tool is asked to do; each says in its own way how it does it, or why it cannot."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from benchmarks.conditions import Change
from benchmarks.sizes import Sizes

Output = dict[str, Tensor]
"""Values by name, which must be the same for everyone."""

TOP_K = 5


class CannotDo(Exception):
    """A tool has no way to do this; the message says why, in one line of the table."""


@dataclass(frozen=True, eq=False)
class Setup:
    """The model and the prompt that everyone is given.

    Attributes:
        target: the token whose probability a lens follows.
    """

    sizes: Sizes
    model: LlavaForConditionalGeneration
    inputs: dict[str, Tensor]
    target: int = 7

    @property
    def image_positions(self) -> Int[Tensor, " patch"]:
        start = self.sizes.image_start
        return torch.arange(start, start + self.sizes.n_patches, device=self.inputs["input_ids"].device)


class Rival:
    """A tool that holds the model. Verbs it does not have raise `CannotDo` with `reason`.

    Attributes:
        name: in the table.
        note: what the table should say of how it does its work.
    """

    name: str
    note: str = ""
    reason: str = "not among its verbs"

    def logits(self) -> Output:
        """All positions' logits: `logits` [pos d_vocab]."""
        raise CannotDo(self.reason)

    def residual_cache(self) -> Output:
        """The stream after every decoder layer, `resid_post.<layer>` [pos d_model], and the logits."""
        raise CannotDo(self.reason)

    def full_cache(self) -> Output:
        """Everything that it can keep of one pass, under TransformerLens's names."""
        raise CannotDo(self.reason)

    def last_logits(self, changes: Sequence[Change]) -> Output:
        """The logits of the last prompt position under changes: `logits` [d_vocab]."""
        raise CannotDo(self.reason)

    def generated(self, changes: Sequence[Change]) -> Output:
        """The greedy continuation under changes: `tokens` [new]; `step_logits` [new d_vocab] where they come along."""
        raise CannotDo(self.reason)

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        """A logit lens over the stream into block 0 and after each layer, at some patches.

        `top_log_probabilities` [state patch TOP_K]; `entropy`, `target_log_probability`, `target_rank` [state patch].
        """
        raise CannotDo(self.reason)


def read_lens(
    states: Sequence[Float[Tensor, "patch d_model"]], norm: torch.nn.Module, unembed: torch.nn.Module, target: int
) -> Output:
    """The lens in plain torch, as a tool without one leaves it to its user: state by state, in fp32.

    The last state must not be normed yet.
    """
    top, entropy, log_probability, rank = [], [], [], []
    for state in states:
        logits = unembed(norm(state)).float()
        log_probabilities = logits.log_softmax(-1)
        top.append(log_probabilities.topk(TOP_K).values)
        entropy.append(-(log_probabilities.exp() * log_probabilities).sum(-1))
        log_probability.append(log_probabilities[:, target])
        rank.append((logits > logits[:, target, None]).sum(-1, dtype=torch.int32) + 1)
    return {
        "top_log_probabilities": torch.stack(top),
        "entropy": torch.stack(entropy),
        "target_log_probability": torch.stack(log_probability),
        "target_rank": torch.stack(rank),
    }

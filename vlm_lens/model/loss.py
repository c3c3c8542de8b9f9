"""How well each token was predicted."""

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor


def follows_a_token(is_real: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    """True where a token is real and so is the one before it: the first after left padding is predicted by no row."""
    return is_real & functional.pad(is_real[:, :-1], (1, 0), value=False)


def next_token_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    is_target: Bool[Tensor, "batch pos"] | None = None,
    per_token: bool = False,
) -> Float[Tensor, ""] | Float[Tensor, "batch targets"]:
    """Cross-entropy, in nats, of each token given those before it, taken in fp32.

    Args:
        logits: the model's.
        tokens: what was read; position i + 1 is the target of position i.
        is_target: which tokens count as targets (not padding, nor the first after it, not image tokens); None for all.
        per_token: the loss at every position, 0 where there is no target, instead of the mean over targets.
    """
    log_probabilities = functional.log_softmax(logits[:, :-1].float(), dim=-1)
    targets = tokens[:, 1:].to(logits.device)
    losses = -log_probabilities.gather(-1, targets[..., None])[..., 0]
    counted = torch.ones_like(targets, dtype=torch.bool) if is_target is None else is_target[:, 1:].to(logits.device)
    losses = losses.masked_fill(~counted, 0.0)
    return losses if per_token else losses.sum() / counted.sum()

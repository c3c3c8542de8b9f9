"""Equal outputs first: who computes something else is not timed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.rivals.rival import Output

TOLERANCE = {"float32": 1e-4, "bfloat16": 6e-2, "float16": 1e-2}
"""Of the largest value of the reference. Eager attention sums in another order than sdpa, which 32 layers amplify: to
some 1e-6 in fp32, to 3e-2 in bf16. What each contestant differs by stands in the table, beside what the condition that
does least moves; where half precision hides the latter, the run in fp32 proves that the same work is done.
"""

RANKS, TOKENS, STEP_LOGITS = "target_rank", "tokens", "step_logits"


class Unequal(Exception):
    """A contestant's output is not the reference's."""


def deviation(outputs: Sequence[Output], reference: Sequence[Output], tolerance: float) -> float:
    """The largest difference of shared values over the reference's largest, over all outputs.

    Raises:
        Unequal: beyond the tolerance; no shared values; tokens that part where the choice was no tie.
    """
    worst = 0.0
    for one, other in zip(outputs, reference, strict=True):
        shared = [name for name in one if name in other]
        if not shared:
            raise Unequal(f"it shares no output with the reference: {sorted(one)[:3]} against {sorted(other)[:3]}")
        n_compared = check_tokens(one, other, tolerance) if TOKENS in shared else 0
        for name in shared:
            if name in (TOKENS, RANKS):
                continue
            rows = slice(n_compared + 1) if name == STEP_LOGITS else slice(None)
            found = relative(one[name][rows], other[name][rows])
            if not found <= tolerance:
                raise Unequal(f"{name} differs by {found:.1e} of its largest value")
            worst = max(worst, found)
        if RANKS in shared and not _ranks_agree(one[RANKS], other[RANKS], tolerance):
            raise Unequal("its ranks are others")
    return worst


def check_tokens(output: Output, reference: Output, tolerance: float) -> int:
    """How many tokens are the same before rounding decided otherwise; all of them in fp32, as a rule.

    Raises:
        Unequal: the first other token was not within the tolerance of the best.
    """
    tokens, expected = output[TOKENS].cpu(), reference[TOKENS].cpu()
    if tokens.shape != expected.shape:
        raise Unequal(f"it gave {len(tokens)} tokens for {len(expected)}")
    parted = (tokens != expected).nonzero().flatten().tolist()
    if not parted:
        return len(tokens)
    logits = reference[STEP_LOGITS][parted[0]].float()
    gap = (logits.max() - logits[tokens[parted[0]]]) / logits.abs().max()
    if not gap <= tolerance:
        raise Unequal(f"token {parted[0]} is another one, {gap:.1e} of the largest logit below the best")
    return parted[0]


def relative(values: Tensor, reference: Tensor) -> float:
    """The largest difference over the largest reference value; equal infinities are equal."""
    values, reference = values.float().squeeze(), reference.float().squeeze().to(values.device)
    if values.shape != reference.shape:
        return float("inf")
    finite = reference.isfinite()
    if not torch.equal(finite, values.isfinite()):
        return float("inf")
    difference = (values - reference)[finite]
    return (difference.abs().max() / reference[finite].abs().max().clamp_min(1e-30)).item() if len(difference) else 0.0


def _ranks_agree(ranks: Tensor, reference: Tensor, tolerance: float) -> bool:
    """Neighbours in rank change places under rounding; whoever is far off read something else."""
    ranks, reference = ranks.float().cpu(), reference.float().cpu()
    return bool(((ranks - reference).abs() <= 2 + 100 * tolerance * reference).float().mean() >= 0.99)


def smallest_effect(outputs: Sequence[Output], plain: Sequence[Output]) -> float:
    """The smallest change that any condition makes to the plain output: what an equality below it would prove."""
    name = next(one for one in ("logits", "target_log_probability", STEP_LOGITS) if one in outputs[0])
    return min(relative(one[name], other[name]) for one, other in zip(outputs, plain, strict=True))

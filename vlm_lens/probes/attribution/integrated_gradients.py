"""Integrated gradients: how much each position's vector counts for an answer, on the way from a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import Again
from vlm_lens.attachments.naming.feature_shape import feature_shape
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import InputError
from vlm_lens.probes.attribution.explained import Explained
from vlm_lens.probes.attribution.gradient_at import Substitutes, activation_at
from vlm_lens.probes.attribution.patch_attribution import Completeness, PatchAttribution
from vlm_lens.probes.attribution.quadrature import Rule, quadrature
from vlm_lens.probes.attribution.vector_attribution import VectorAttribution


@dataclass(frozen=True, eq=False)
class IntegratedGradients(VectorAttribution):
    """The change from a baseline, times the answer's gradient averaged over the straight line between them.

    The attributions sum to the answer here less the answer at the baseline; the result says how far they miss that
    (the completeness error, which more steps make smaller). At the decoder's door the vision tower runs once and the
    steps are rows of a batch, as many as the memory allows; at other hooks, and under writers, they run one by one.

    Attributes:
        baseline: where the line starts. "mean": the mean of the chosen vectors of each picture (or row). "zero": with
            care, for a norm makes any small vector large: the answer changes all at once close to zero, and no number
            of steps gets that right. A vector `[*features]` or several `[patch *features]` (`[pos ...]`); a `Mean` over
            a data set, as in the paper below, or another mapping from hook names to these.
        n_steps: points on the line.
        rule: "gauss" (Gauss-Legendre), "trapezoid", "midpoint", or the papers' Riemann sums "left" and "right".
        memory: bytes that a batch of steps may keep for its backward pass; one step is run whatever it takes.

    The other attributes are those of `VectorAttribution`.

    Source: Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017. With a data set's mean as the
    baseline and `top(n, "absolute")` the token ranking of Neo et al., "Towards Interpreting Visual Information
    Processing in Vision-Language Models", 2024.

    Example:
        >>> from vlm_lens import IntegratedGradients
        >>> IntegratedGradients(" Yes", against=" No", n_steps=20)
        IntegratedGradients(target=' Yes', against=' No', n_steps=20)
    """

    baseline: Any = "mean"
    n_steps: int = 50
    rule: Rule = "gauss"
    memory: int = 2**30

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.baseline, Tensor | np.ndarray):
            held = self.baseline.detach().clone() if isinstance(self.baseline, Tensor) else self.baseline.copy()
            object.__setattr__(self, "baseline", held)  # it changes no more

    def check(self, ground: Ground) -> None:
        """Everything that it names must exist, and the baseline be a finite vector of the right width.

        Raises:
            VlmLensError: saying what does not.
        """
        super().check(ground)
        quadrature(self.rule, self.n_steps)
        if self.memory < 1:
            raise InputError(f"{self!r}", "memory of at least 1 byte", self.memory)
        if hasattr(self.baseline, "check"):
            self.baseline.check(ground.model)
        sequences = ground.sequences_at(self.hook)
        vector = self._baseline()
        if sequences is None or not vector.ndim:
            return
        features = feature_shape(ground.model, self.hook)
        assert features is not None
        n_positions, leading = sequences.n_positions, vector.shape[: vector.ndim - len(features)]
        fits = vector.shape[-len(features) :] == features and tuple(leading) in (
            (), (n_positions,), (1, n_positions), (sequences.n_rows, n_positions),
        )  # fmt: skip
        if not fits:
            rule = f"{list(features)} or {[n_positions, *features]}"
            raise InputError(f"Baseline of {self!r}", rule, list(vector.shape))
        if not bool(vector.isfinite().all()):
            raise InputError(f"Baseline of {self!r}", "finite numbers", "NaN or infinite ones")

    def measure(self, again: Again) -> PatchAttribution:
        """One number a position, and how far they miss their sum."""
        explained = Explained.of(again, self.target, self.against, self.at)
        values = Substitutes(again, explained, self.hook, self.memory)
        here = activation_at(again, self.hook)
        here = here.to(torch.promote_types(here.dtype, torch.float32))
        is_chosen = self.is_chosen(here, self.sequences(again))
        baseline = _mean(here, is_chosen) if self._is_own_mean else self._baseline().to(here)
        change = torch.where(is_chosen, here - baseline, 0.0)
        start = here - change
        nodes, weights = (torch.from_numpy(one).to(here) for one in quadrature(self.rule, self.n_steps))

        def between(first: int, stop: int) -> Float[Tensor, "step *shape"]:
            return start + nodes[first:stop].view(-1, *[1] * here.ndim) * change

        total = torch.zeros_like(here)
        for first, _, gradients in values.evaluated(between, self.n_steps):
            total += torch.tensordot(weights[first : first + len(gradients)], gradients.to(here.dtype), dims=1)
        [(_, at_baseline, _)] = values.evaluated(lambda *_: start[None], 1, has_gradient=False)
        [(_, answer, _)] = values.evaluated(lambda *_: here[None], 1, has_gradient=False)
        ends = [one[0].double().cpu().numpy() for one in (answer, at_baseline)]
        found = self.attribution(again, explained, change * total, answer[0], Completeness(ends[0], ends[1]))
        return replace(found, n_rows=values.n_rows)

    @property
    def _is_own_mean(self) -> bool:
        return isinstance(self.baseline, str) and self.baseline == "mean"

    def _baseline(self) -> Tensor:
        """Where the line starts, as far as that is known before the run.

        Raises:
            InputError: something that is no vector, or a mapping without this hook.
        """
        baseline = self.baseline
        if isinstance(baseline, str) and baseline in ("zero", "mean"):
            return torch.tensor(0.0)
        if isinstance(baseline, Mapping) or hasattr(baseline, "moments"):
            if self.hook not in baseline:
                raise InputError(f"Baseline of {self!r}", f"a mean at {self.hook}", f"means at {', '.join(baseline)}")
            baseline = baseline[self.hook]
        if not isinstance(baseline, Tensor | np.ndarray):
            raise InputError(f"Baseline of {self!r}", "'mean', 'zero', a tensor, or a Mean", repr(baseline))
        return torch.as_tensor(baseline).detach()


def _mean(
    values: Float[Tensor, "sequence pos *features"], is_chosen: Bool[Tensor, "sequence pos *ones"]
) -> Float[Tensor, "sequence 1 *features"]:
    """The mean of the chosen vectors of each sequence."""
    total = torch.where(is_chosen, values, 0.0).sum(dim=1, keepdim=True)
    return total / is_chosen.sum(dim=1, keepdim=True).clamp(min=1)

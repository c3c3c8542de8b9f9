"""Gradient times input: how much an answer would change, to first order, if a position's vector went to zero."""

from dataclasses import dataclass

import torch

from vlm_lens.attachments import Again
from vlm_lens.probes.attribution.explained import Explained
from vlm_lens.probes.attribution.gradient_at import gradient_at
from vlm_lens.probes.attribution.patch_attribution import PatchAttribution
from vlm_lens.probes.attribution.vector_attribution import VectorAttribution


@dataclass(frozen=True, eq=False)
class GradientTimesInput(VectorAttribution):
    """The product of each vector with the answer's gradient there.

    `signed` is the sum over the vector: the first-order change of the answer if the vector went to zero. One run
    forward and one backward, under the writers that come before.

    Attributes: see `VectorAttribution`.

    Source: Shrikumar et al., "Not Just a Black Box", 2016.

    Example:
        >>> from vlm_lens import GradientTimesInput
        >>> GradientTimesInput(" Yes", against=" No")
        GradientTimesInput(target=' Yes', against=' No')
    """

    def measure(self, again: Again) -> PatchAttribution:
        """One number a position."""
        explained = Explained.of(again, self.target, self.against, self.at)
        activation, answers, gradient = gradient_at(again, explained, self.hook)
        values = activation.to(torch.float32) * gradient.to(torch.float32)
        values = values * self.is_chosen(activation, self.sequences(again))
        return self.attribution(again, explained, values, answers)

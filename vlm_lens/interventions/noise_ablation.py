"""Noise ablation: some positions say nothing in particular, as loudly as before."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlm_lens.attachments import Here
from vlm_lens.attachments.naming.feature_shape import activation_dtype, feature_shape
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.estimates import Mean
from vlm_lens.interventions.base_ablation import Ablation, drawn, numbers_of
from vlm_lens.interventions.base_vectors import check_finite, check_vectors, vectors_for
from vlm_lens.layout import Selector

_LARGEST_DRAW = 6.0
"""Standard deviations that one draw in a thousand million exceeds."""


@dataclass(frozen=True, eq=False)
class NoiseAblation(Ablation):
    """Puts gaussian noise in the place of some positions' activations, or adds it; all others keep their bits.

    Without `like`, a vector's noise has that vector's own root mean square, so that it is as long as what it replaces.
    Scales over positions would differ between a prompt and the single position of a cached step; over a data set they
    do not, and `like` takes them, feature by feature, from there.

    The noise is the same in every run, batch and step: it is drawn for a position's number in its row, padding aside
    (in its picture for the vision tower), and for the hook.

    Attributes:
        positions: whose activations.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_resid_post"`.
        scale: the noise's standard deviation, in units of the activation's own.
        seed: another seed draws other noise.
        layers: of a pattern's matches; see `AttentionKnockout`.
        heads: at a hook that tells heads apart; None for all.
        like: a `Mean` whose mean and standard deviation the noise has at each feature.
        adds: add noise of mean zero to what stands there.

    Source: Meng et al., "Locating and Editing Factual Associations in GPT", 2022, adds three standard deviations to
        embeddings: `NoiseAblation(..., scale=3.0, like=mean, adds=True)`.

    Example:
        >>> from vlm_lens import NoiseAblation
        >>> NoiseAblation("image", scale=3.0, adds=True)
        NoiseAblation(positions='image', scale=3.0, adds=True)
    """

    positions: Selector
    hook: Any = "projector.hook_out"
    _: KW_ONLY
    scale: float | int = 1.0
    seed: int = 0
    layers: Any = "all"
    heads: Any = None
    like: Mean | None = None
    adds: bool = False

    is_local: ClassVar[bool] = True

    @property
    def overwrites(self) -> bool:  # type: ignore[override]
        """Whether nothing of what stood there is left, its length included."""
        return self.like is not None and not self.adds

    def check(self, ground: Ground) -> None:
        """As every ablation; and a `Mean` must have been made with this model.

        Raises:
            EstimateError: it was made with another model or preprocessing, or these pictures are padded otherwise.
            HookError: a scale that is no positive number.
        """
        if not 0.0 < self.scale < float("inf"):
            raise HookError(f"Scale of {self!r}", "a finite number above 0", self.scale)
        if self.like is not None:
            self.like.check(ground.model, ground.planned.pictures)
        super().check(ground)

    def check_at(self, hook_name: str, features: tuple[int, ...] | None, ground: Ground) -> None:
        """As every ablation; and the mean must be of this hook, over all positions, and have a deviation.

        Raises:
            HookError: a mean of another hook, for each position, or of a single vector; one that is not finite, or
                noise that would not be, in the model's precision.
        """
        super().check_at(hook_name, features, ground)
        assert features is not None
        if self.like is not None:
            mean, what = vectors_for(repr(self), self.like, hook_name), f"{self!r} at {hook_name}"
            check_vectors(what, mean, features, n_axes=(0,))
            if self.like.n(hook_name) < 2:
                raise HookError(what, "a mean of two vectors or more, which deviate", f"N={self.like.n(hook_name)}")
            largest = mean.abs() + _LARGEST_DRAW * self.scale * self.like.deviation(hook_name)
            check_finite(what, largest, activation_dtype(ground.model, hook_name))

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """The noise of the positions held here, with what it is added to."""
        noise = self._noise(here).to(activation.device, torch.float32)
        if self.like is None:
            spread = activation.float().square().mean(dim=-1, keepdim=True).sqrt()
        else:
            spread = self.like.deviation(here.name).to(activation.device, torch.float32)
        noise = self.scale * spread * noise
        if self.adds:
            return activation + noise
        return noise if self.like is None else noise + self.like[here.name].to(noise.device, torch.float32)

    def _noise(self, here: Here) -> Tensor:
        """Standard normal, `[batch pos *features]`."""
        features = feature_shape(here.model, here.name)
        assert features is not None
        numbers = here.held(numbers_of(here.sequences))

        def normal(generator: torch.Generator, count: int) -> Tensor:
            return torch.randn(count, *features, generator=generator)

        noise = drawn(f"{self.seed} {here.name}", numbers, normal)
        return noise[:, 0] if here.place == "none" else noise

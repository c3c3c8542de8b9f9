"""Resample ablation: some positions say what was said elsewhere."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlm_lens.attachments import GeneratedRun, Here, Run
from vlm_lens.attachments.naming.feature_shape import activation_dtype, feature_shape
from vlm_lens.attachments.naming.hook_names import hook_names_of
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.patching.source import Source
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.interventions.base_ablation import Ablation, check_places, drawn, numbers_of, places_of
from vlm_lens.interventions.base_vectors import check_finite, check_vectors, checked_vectors, vectors_for
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class ResampleAblation(Ablation):
    """Puts vectors drawn from other inputs in the place of some positions' activations; all others keep their bits.

    Unlike a mean, each is a vector that the model has met. `ActivationPatch` puts a chosen position of another input
    in a chosen position's place; here chance chooses, for each position alone.

    The draw is the same in every run, batch and step, and at every hook: it is made for a position's number in its row,
    padding aside (in its picture for the vision tower).

    Attributes:
        positions: whose activations.
        source: what is drawn from: a run of other inputs that kept the hook, `vlm.run(others, names_filter=hook)`, of
            which padding is left out; or a tensor `[vector *features]` or `[example pos *features]`, or a mapping from
            hook names to these, as a cache is. In a decoder's stream, choose the positions first:
            `cache[hook][others.layout.mask("image")]`. What is large is not copied: leave it as it is.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_resid_post"`.
        layers: of a pattern's matches; see `AttentionKnockout`.
        heads: at a hook that tells heads apart; None for all.
        seed: another seed draws others.
        same_position: draw the example alone, and take its vector at the same patch or absolute position; the source
            is then `[example patch *features]` or `[example pos *features]`.

    Source: Chan et al., "Causal Scrubbing", 2022; Zhang and Nanda, "Towards Best Practices of Activation Patching in
        Language Models", 2024, compares it with means and noise.

    Example:
        >>> import torch
        >>> from vlm_lens import ResampleAblation
        >>> ResampleAblation("image", torch.zeros(8, 144, 192), seed=3)
        ResampleAblation(positions='image', source=Tensor(8, 144, 192), seed=3)
    """

    positions: Selector
    source: Any
    hook: Any = "projector.hook_out"
    _: KW_ONLY
    layers: Any = "all"
    heads: Any = None
    seed: int = 0
    same_position: bool = False

    is_local: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", self._pools())

    def _pools(self) -> Any:
        """What is drawn from: of a run the activations at the hook, by name, without padding.

        Raises:
            HookError: something that has no vectors.
            ActivationError: a run that did not keep the hook.
        """
        if not isinstance(self.source, Run | GeneratedRun):
            advice = "Other pictures are run first: source=vlm.run(others, names_filter=hook)."
            return checked_vectors(f"source of {type(self).__name__}", self.source, advice)
        origin, record = Source.of(self.source), self.source.session.record
        assert record is not None
        names = hook_names_of(record.model, self.hook, self.layers, self.on_empty)
        origin.check_has(names, repr(self))
        is_real = None if origin.layout is None or self.same_position else origin.layout.mask("all")
        pools = {name: origin.activation(name) for name in names}
        for name, pool in pools.items():
            if is_real is not None and place_of(record.model, name) in ("decoder", "text"):
                pools[name] = pool[is_real[:, : pool.shape[1]].to(pool.device)]
        return pools

    def check_at(self, hook_name: str, features: tuple[int, ...] | None, ground: Ground) -> None:
        """As every ablation; and the source must have vectors of this hook.

        Raises:
            HookError: vectors of another width or length, none, NaN or infinity.
        """
        super().check_at(hook_name, features, ground)
        assert features is not None
        vectors, what = vectors_for(repr(self), self.source, hook_name), f"{self!r} at {hook_name}"
        check_vectors(what, vectors, features, n_axes=(2,) if self.same_position else (1, 2))
        if not vectors.numel():
            raise HookError(what, "at least one vector to draw", list(vectors.shape))
        check_finite(what, vectors, activation_dtype(ground.model, hook_name))
        if self.same_position:
            sequences = ground.sequences_at(hook_name)
            if sequences is None:
                raise HookError(what, "known positions", "inputs without any", "Leave out same_position.")
            check_places(what, places_of(what, vectors[0], features, sequences), sequences.mask(self.positions))

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """The drawn vectors of the positions held here."""
        vectors = vectors_for(repr(self), self.source, here.name)
        features = feature_shape(here.model, here.name)
        assert features is not None
        numbers = here.held(numbers_of(here.sequences))
        uniform = drawn(str(self.seed), numbers, _uniform)
        if self.same_position:
            places = here.held(places_of(repr(self), vectors[0], features, here.sequences)).clamp(min=0)
            found = vectors[_index(uniform, len(vectors), vectors), places.to(vectors.device)]
        else:
            pool = vectors.reshape(-1, *features)
            found = pool[_index(uniform, len(pool), pool)]
        return found[:, 0] if here.place == "none" else found


def _uniform(generator: torch.Generator, count: int) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _index(uniform: Tensor, n: int, vectors: Tensor) -> Tensor:
    return (uniform * n).long().to(vectors.device)

"""Steering: a vector added to some positions' activations."""

from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Any, ClassVar

from torch import Tensor

from vlm_lens.attachments import PositionWriter
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.feature_shape import activation_dtype, feature_shape
from vlm_lens.attachments.naming.hook_names import heads_of
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.verification.expected import held
from vlm_lens.errors import HookError, PositionError
from vlm_lens.interventions.base_vectors import check_finite, own_vectors
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class Steer(PositionWriter):
    """Adds `scale * vector` at some positions; under generation at each step, where positions are generated.

    Attributes:
        vector: `[d]` for every position; `[head d_head]` at a hook that tells heads apart, with a row for each head or
            for each of `heads` (a plain `[d_head]` is added to every one); or one more axis in front, `[pos d]`, with
            a vector for each position, in ascending order. A tensor, an array or a list, of which it keeps a copy.
        hook: a name, several, or a pattern like `"blocks.*.hook_resid_post"`.
        positions: where.
        scale: times which the vector is added; negative steers away.
        layers: which of a pattern's layers.
        heads: which heads; None for all.

    Raises:
        HookError: before the model runs, for a vector of another width, with NaN or infinite entries (times the scale,
            in the model's precision), or at scores, pattern or mask.
        PositionError: before the model runs, for vectors by position where a row has another number of positions.

    Source: Turner et al., "Activation Addition: Steering Language Models Without Optimization", 2023.

    Example:
        >>> import torch
        >>> from vlm_lens import Steer
        >>> Steer(torch.ones(128), "blocks.*.hook_resid_post", "predicting", scale=4.0, layers=[3])
        Steer(vector=Tensor(128), hook='blocks.*.hook_resid_post', positions='predicting', scale=4.0, layers=[3])
    """

    vector: Any
    hook: Any
    positions: Selector
    _: KW_ONLY
    scale: float | int = 1.0
    layers: Any = "all"
    heads: Any = None

    is_local: ClassVar[bool] = True
    overwrites: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        vector, what = own_vectors(f"vector of {type(self).__name__}", self.vector), type(self.vector).__name__
        if not isinstance(vector, Tensor):
            advice = "Take that of one hook: mean[hook], run.cache[hook][0, -1]."
            raise HookError(f"vector of {type(self).__name__}", "a tensor, an array or a list", what, advice)
        object.__setattr__(self, "vector", vector)

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """The activation with the vector added."""
        shape = feature_shape(here.model, here.name)
        assert shape is not None
        vector = self._over_heads(self.vector.to(activation.device), shape)
        if vector.ndim <= len(shape):
            return activation + self.scale * vector
        selected = here.sequences.mask(self.positions)
        order = here.held((selected.long().cumsum(dim=1) - 1).clamp(min=0))
        return activation + self.scale * vector[order.to(activation.device)]

    def expected(self, before: Tensor, here: Here) -> Tensor:
        """The sum, position by position and head by head, for `run.verify()`."""
        left, vectors = before.clone(), self.vector.to(before.device)
        n_features = before.ndim - (1 if here.place == "none" else 2)
        for one in held(self.positions, before, here):
            vector = vectors[one.number] if vectors.ndim > n_features else vectors
            if n_features == 1:
                left[one.place] = before[one.place] + self.scale * vector
                continue
            n_heads = before.shape[-2]
            chosen = list(heads_of(self.heads, n_heads) or range(n_heads))
            for head in chosen:
                rows = chosen if vector.ndim > 1 and len(vector) != n_heads else range(n_heads)
                part = vector if vector.ndim == 1 else vector[rows.index(head)]
                left[one.place][head] = before[one.place][head] + self.scale * part
        return left

    def _over_heads(self, vector: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A row for every head, from rows for the chosen ones; the others' are not read."""
        chosen = None if len(shape) == 1 else heads_of(self.heads, shape[0])
        if chosen is None or vector.ndim == 1 or vector.shape[-2] == shape[0]:
            return vector
        whole = vector.new_zeros(*vector.shape[:-2], *shape)
        whole[..., list(chosen), :] = vector
        return whole

    def check(self, ground: Ground) -> None:
        """As every attachment; and the vector is one of numbers, as wide as the activation."""
        super().check(ground)
        vector: Tensor = self.vector
        if not vector.is_floating_point() or not bool(vector.isfinite().all()) or not isfinite(self.scale):
            got = f"{vector.dtype}, {int((~vector.isfinite()).sum())} entries not finite, scale {self.scale}"
            raise HookError(repr(self), "a vector of finite floats and a finite scale", got)
        for name in self.hook_names(ground.model):
            self._check_at(ground, name, tuple(vector.shape))
            check_finite(
                f"scale * vector of {self!r} at {name}", self.scale * vector, activation_dtype(ground.model, name)
            )

    def _check_at(self, ground: Ground, name: str, got: tuple[int, ...]) -> None:
        shape = feature_shape(ground.model, name)
        if shape is None:
            raise HookError(repr(self), "a hook with a vector for each position", name, "Use AttentionKnockout.")
        allowed = {shape}
        if len(shape) == 2:
            chosen = heads_of(self.heads, shape[0])
            allowed |= {shape[1:], (shape[0] if chosen is None else len(chosen), shape[1])}
        if got in allowed:
            return
        if len(got) != len(shape) + 1 or got[1:] not in allowed:
            rule = f"a vector of shape {' or '.join(str(list(one)) for one in sorted(allowed))} at {name}"
            raise HookError(repr(self), f"{rule}, or that for each position", list(got))
        sequences = ground.sequences_at(name)
        if sequences is None or place_of(ground.model, name) == "none":
            raise HookError(repr(self), "one vector", f"{got[0]} of them", f"Positions at {name} are unknown.")
        counts = sequences.mask(self.positions).sum(dim=1).tolist()
        wrong = [(row, count) for row, count in enumerate(counts) if count not in (0, got[0])]
        if wrong and (ground.planned.step == 0 or wrong[0][1] > got[0]):
            row, count = wrong[0]
            raise PositionError(repr(self), f"{got[0]} positions in each row, as vectors", f"{count} in row {row}")

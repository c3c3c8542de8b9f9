"""A hook point that knows whether somebody stands at it, and whether they changed what they saw."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules import module

from vlm_lens import _tl
from vlm_lens.errors import HookError


class HookPoint(_tl.HookPoint):
    """TransformerLens's hook point, with three additions.

    - An activation is handed to a user's hook as a copy, so that an edit in place reaches what comes after
      and nothing that was read before.
    - `observe` says whether the hooks changed the value: an activation that is computed *beside* the fast path
      costs nothing when idle, and switches the path only when it was written.
    - A hook that returns something of another shape is refused where it happens.
    """

    rows_shown: tuple[int, ...] | None = None
    """Which query rows of the pass an activation has that passes now, ascending; None for all."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody stands here."""
        return not self._forward_hooks and not self._backward_hooks

    @property
    def only_reads(self) -> bool:
        """Whether nothing that stands here could change the activation: nobody, or caching hooks alone."""
        if self.is_idle:
            return True
        known = [handle.user_hook for handle in self.fwd_hooks]
        return (
            not self._backward_hooks
            and len(known) == len(self._forward_hooks)
            and all(getattr(hook, "reads_only", False) for hook in known)
        )

    @property
    def may_edit(self) -> bool:
        """Whether something stands here that could edit the activation in place: any hook that does not say it won't.

        A hook says so by an attribute: `reads_only`, or `returns_new` (it may return another tensor).
        """
        known = [handle.user_hook for handle in self.fwd_hooks]
        return len(known) < len(self._forward_hooks) or not all(
            getattr(hook, "reads_only", False) or getattr(hook, "returns_new", False) for hook in known
        )

    def rows_asked(self) -> tuple[int, ...] | None:
        """Which query rows of the pass those that stand here look at, ascending; None for all.

        A hook says so by an attribute `rows_asked`, which it is called for, and must be one that reads only.
        """
        found: tuple[int, ...] = ()
        if self.is_idle:
            return found
        if not self.only_reads:
            return None
        for handle in self.fwd_hooks:
            rows = getattr(handle.user_hook, "rows_asked", lambda: None)()
            if rows is None:
                return None
            found = rows if not found or rows == found else tuple(sorted({*found, *rows}))
        return found

    def show(self, rows: tuple[int, ...], value: Tensor) -> None:
        """Show some query rows of an activation to hooks that asked for these or fewer."""
        self.rows_shown = rows
        try:
            self(value)
        finally:
            self.rows_shown = None

    def forward(self, x: Tensor) -> Tensor:
        """The activation itself, or a copy of it for hooks that might edit it in place."""
        return _copy(x) if self._forward_hooks and self.may_edit else x

    def observe(self, value: Tensor) -> tuple[Tensor, bool]:
        """Show a value that was computed beside the fast path.

        Returns:
            What the hooks left of it, and whether that differs from `value` (returned or edited in place).
            Values are compared, so writing through `.data` or numpy counts, and writing the same value does not.
        """
        if self.only_reads:
            self(value)
            return value, False
        seen = self(value)
        return seen, seen is not value and not _is_same(seen, value)

    def accepts(self, before: torch.Size, after: torch.Size) -> bool:
        """Whether a hook may turn an activation of one shape into one of another."""
        return before == after

    def add_hook(  # type: ignore[override]
        self, hook: Any, dir: Literal["fwd", "bwd"] = "fwd", **options: Any
    ) -> _tl.LensHandle:
        """Add a hook `hook(activation, hook=point)`; see TransformerLens's `HookPoint.add_hook`.

        Raises:
            HookError: later, when the hook returns something that is not a tensor of the activation's shape.
        """
        handle = super().add_hook(partial(self._checked, hook) if dir == "fwd" else hook, dir=dir, **options)
        handle.user_hook = hook
        return handle

    def _checked(self, user_hook: Any, value: Tensor, hook: Any) -> Tensor | None:
        """What a user's hook returned, if it is another tensor that can stand in the place of the activation."""
        result = user_hook(value, hook=hook)
        if result is None or result is value:
            return None
        expected = f"None or a tensor of shape {tuple(value.shape)}"
        if not isinstance(result, Tensor):
            raise HookError(f"Hook on {self.name}", expected, type(result).__name__)
        if not self.accepts(value.shape, result.shape):
            got = f"shape {tuple(result.shape)}"
            raise HookError(f"Hook on {self.name}", expected, got, "Return the whole activation.")
        if (result.dtype == torch.bool) != (value.dtype == torch.bool):
            raise HookError(f"Hook on {self.name}", f"dtype {value.dtype}", result.dtype)
        return result.to(device=value.device, dtype=value.dtype)

    def layer(self) -> int | None:
        """The layer in the name (`vision.blocks.3.attn.hook_z` is in layer 3); None where it has none."""
        parts = (self.name or "").split(".")
        return int(parts[parts.index("blocks") + 1]) if "blocks" in parts else None


class MaskHookPoint(HookPoint):
    """The hook on an attention mask: a hook may answer for all heads at once or for each head."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads

    def accepts(self, before: torch.Size, after: torch.Size) -> bool:
        """The same shape, or one mask for each head in place of one for all."""
        per_head = torch.Size((before[0], self.n_heads, *before[2:]))
        return after in (before, per_head)


@contextmanager
def silent(points: Iterable[HookPoint]) -> Iterator[None]:
    """Until the block ends nobody stands at these points: for a computation of our own in the middle of a run."""
    before = [(point, point._forward_hooks, point._backward_hooks) for point in points]
    try:
        for point, _, _ in before:
            point._forward_hooks, point._backward_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for point, forward, backward in before:
            point._forward_hooks, point._backward_hooks = forward, backward


def is_every_module_watched() -> bool:
    """Whether a hook of torch's stands at all modules there are, as `register_module_forward_hook` has it.

    Those of torch's own tools, such as its counter of FLOPs, look at which module runs and no more.
    """
    everywhere = (*module._global_forward_hooks.values(), *module._global_forward_pre_hooks.values())
    return any(not str(getattr(hook, "__module__", "")).startswith("torch.") for hook in everywhere)


def value_of_one_gradient_of_other(value: Tensor, other: Tensor) -> Tensor:
    """`value`, to the bit, with the gradient of `other`.

    The fused path gives the value and the written-out path the gradient, so that reading an activation with autograd
    on changes no logit, and yet a gradient flows through what was read.
    """
    return _ValueAndGradient.apply(value, other)


class _ValueAndGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, other: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def _copy(x: Tensor) -> Tensor:
    """A copy laid out in memory as the original, so that what follows takes the same kernel to the same bits."""
    copy = x.clone()
    if copy.stride() == x.stride() or 0 in x.stride():
        return copy
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).copy_(x)


def _is_same(seen: Tensor, value: Tensor) -> bool:
    """Whether two activations hold the same numbers, where a NaN is the same as a NaN."""
    if torch.equal(seen, value):
        return True
    if not value.is_floating_point() or seen.shape != value.shape:
        return False
    return bool(((seen == value) | (seen.isnan() & value.isnan())).all())

"""The gradient of an answer with respect to the activation at a hook, and the answer for other values there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.attachments import Again
from vlm_lens.errors import HookError
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.model.transformer import HookedTransformer
from vlm_lens.probes.attribution.explained import Explained

AT_THE_DOOR = ("hook_embed", "projector.hook_out")
"""Hooks whose activation enters the decoder as it is: other values need the decoder alone."""


@contextmanager
def with_gradients() -> Iterator[None]:
    """Gradients are kept, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def activation_at(again: Again, hook: str) -> Tensor:
    """The activation at a hook, as the writers before leave it."""
    found: list[Tensor] = []

    def keep(activation: Tensor, hook: Any) -> None:
        found.append(activation.detach().clone())

    keep.reads_only = True  # type: ignore[attr-defined]
    again([(hook, keep)], **_stop_after(again, hook))
    return found[0]


def gradient_at(
    again: Again, explained: Explained, hook: str, value: Tensor | None = None
) -> tuple[Tensor, Float[Tensor, " sequence"], Tensor]:
    """The activation at a hook (or another value in its place), the answer, and the answer's gradient there.

    Raises:
        HookError: for a hook that the answer does not depend on.
    """
    leaves: list[Tensor] = []

    def enter(activation: Tensor, hook: Any) -> Tensor:
        leaf = (activation if value is None else value).detach().to(activation).clone().requires_grad_()
        leaves.append(leaf)
        return leaf

    enter.returns_new = True  # type: ignore[attr-defined]
    with with_gradients():
        logits = again([(hook, enter)], has_gradient=True, **run_options(again, explained, hook))
        answers = explained.of_logits(logits)
        if not answers.requires_grad:
            raise _not_reached(hook)
        (gradient,) = torch.autograd.grad(answers.sum(), leaves, allow_unused=True)
    if gradient is None:
        raise _not_reached(hook)
    return leaves[0].detach(), answers.detach(), gradient


@dataclass(eq=False)
class Substitutes:
    """The answer and its gradient for other values at a hook, many at a time.

    Where the values enter the decoder as they are and no writer stands at the model, the vision tower is run once and
    each batch holds as many values as the memory allows: what one of them keeps for the backward pass is measured.
    Otherwise the model is run value by value, so that everything attached sees the batch that it was made for.

    Attributes:
        again: the model to run.
        explained: the answer.
        hook: where the values stand.
        memory: bytes that a batch may keep for its backward pass.
        n_rows: how many values the largest batch held.
    """

    again: Again
    explained: Explained
    hook: str
    memory: int
    n_rows: int = 1
    _bytes_a_row: int = 0
    _stream: Tensor | None = field(default=None, repr=False)

    def evaluated(
        self, values: Callable[[int, int], Float[Tensor, "step *shape"]], n_values: int, has_gradient: bool = True
    ) -> Iterator[tuple[int, Float[Tensor, "step sequence"], Float[Tensor, "step *shape"]]]:
        """Batch by batch the first value's number, the answers, and their gradients (none without).

        Args:
            values: gives those from one number up to another, so that they need not all exist at once.
            n_values: how many there are.
            has_gradient: whether gradients are wanted.
        """
        start = 0
        while start < n_values:
            n = min(self._fitting(), n_values - start) if self.is_batched else 1
            batch = values(start, start + n)
            self.n_rows = max(self.n_rows, n)
            if self.is_batched:
                yield start, *self._batch(batch, has_gradient)
            else:
                _, answers, gradient = gradient_at(self.again, self.explained, self.hook, batch[0])
                yield start, answers[None], gradient[None] if has_gradient else gradient[None][:0]
            start += n

    @cached_property
    def is_batched(self) -> bool:
        """Whether values can be rows of a batch: nothing else stands at the model, which would see that batch."""
        return _is_alone(self.again) and self.hook in AT_THE_DOOR and isinstance(self.again.model, HookedTransformer)

    def _fitting(self) -> int:
        """How many values fit; one, as long as none was measured."""
        return max(1, self.memory // self._bytes_a_row) if self._bytes_a_row else 1

    def _batch(self, values: Float[Tensor, "step *shape"], has_gradient: bool) -> tuple[Tensor, Tensor]:
        kept = KeptForBackward(self.again.model)
        with with_gradients(), kept:
            values = values.detach().clone().requires_grad_(has_gradient)
            options = run_options(self.again, self.explained, self.hook)
            logits = self.again(
                inputs=self._entered(values), has_gradient=has_gradient, start_at_layer=0,
                attention_mask=self._is_real(len(values)).to(values.device), **options,
            )  # fmt: skip
            answers = self.explained.of_logits(logits)
            gradient = torch.autograd.grad(answers.sum(), values)[0] if has_gradient else values[:0]
        if has_gradient:
            self._bytes_a_row = max(self._bytes_a_row, kept.n_bytes // len(values))
        return rearrange(answers.detach(), "(step sequence) -> step sequence", step=len(values)), gradient

    def _entered(self, values: Float[Tensor, "step *shape"]) -> Float[Tensor, "rows pos d_model"]:
        """What enters the first block: the values in their places, copy after copy of the batch."""
        if self.hook == "hook_embed":
            return rearrange(values, "step batch pos d_model -> (step batch) pos d_model")
        model = cast(JoinedTransformer, self.again.model)
        if self._stream is None:
            self._stream = self.again(stop_at_layer=0).detach()
        is_image = self.again.inputs["input_ids"].to(self._stream.device) == model.image_token_id
        stream, is_image = (
            repeat(one, "batch ... -> (step batch) ...", step=len(values)) for one in (self._stream, is_image)
        )
        return stream.masked_scatter(is_image[..., None], values.to(stream.device, stream.dtype))

    def _is_real(self, n_steps: int) -> Tensor:
        layout = self.again.record.layout
        assert layout is not None
        return repeat(layout.mask("all"), "batch pos -> (step batch) pos", step=n_steps)


class KeptForBackward(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that autograd keeps for a backward pass, the model's own weights left out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(self._count, lambda tensor: tensor)
        self._known = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
        self.n_bytes = 0

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self.n_bytes += storage.nbytes()
        return tensor


def run_options(again: Again, explained: Explained, hook: str = "") -> dict[str, Any]:
    """How to run the model so that no more logits than needed are made; all, where the hook lies among the last."""
    layout = again.record.layout
    is_last = hook.startswith(("ln_final.", "unembed."))
    return {} if layout is None or is_last else explained.options(layout.n_positions)


def _stop_after(again: Again, hook: str) -> dict[str, Any]:
    """Run no further than needed, where nothing stands at the model that would be left out."""
    is_early = hook in AT_THE_DOOR or hook.startswith(("vision.", "projector."))
    is_short = is_early and isinstance(again.model, HookedTransformer) and _is_alone(again)
    return {"stop_at_layer": 0} if is_short else {}


def _is_alone(again: Again) -> bool:
    """Whether nothing stands at the model but the measure itself."""
    return not again.writers and all(point.is_idle for point in again.model.hook_dict.values())


def _not_reached(hook: str) -> HookError:
    return HookError(f"Gradient at {hook}", "a hook that the answer depends on", "one that feeds nothing here")

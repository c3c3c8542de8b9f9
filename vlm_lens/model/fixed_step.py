"""A generation's step whose shapes never change, so that a graph of it can be kept and replayed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.model.captured_step import captured
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.plain_step import PlainStep

# What the fused kernels of a GPU want the number of keys under a mask to be a multiple of.
_WHOLE = 8
# Capturing takes as long as a few steps; fewer than these are run one by one.
_WORTH_CAPTURING = 8


class PlacedKeysValues(NamedTuple):
    """One layer's rooms of the final length, written at a place that is known on the device alone."""

    keys: Float[Tensor, "batch kv_head room d_head"]
    values: Float[Tensor, "batch kv_head room d_head"]
    place: Int[Tensor, " 1"]

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The whole rooms, the new position written; what lies after it is for a mask to hide."""
        return self.keys.index_copy_(2, self.place, k), self.values.index_copy_(2, self.place, v)


class FixedStep:
    """A step that reads all the room there is under a mask, and has its position as a tensor.

    On a GPU the step is captured once as a graph and replayed: a step of a 7B model is over a thousand small kernels,
    and launching them one by one takes longer than running them. A replay asks nothing of Python. Elsewhere the same
    step runs as it is. Ordinary passes may come in between: they write to the same rooms.

    Args:
        step: the step of a decoder.
        past: the keys and values of the prompt's pass, with room for all to come.
        n_steps: how many steps are to come at most.
    """

    def __init__(self, step: PlainStep, past: KeyValueCache, n_steps: int) -> None:
        self.step, self.past, self.n_steps = step, past, n_steps
        device = step.model.embed.W_E.device
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.rooms = [PlacedKeysValues(*layer.rooms(), self.place) for layer in past.layers]
        batch, _, n_rooms, _ = self.rooms[0].keys.shape
        self.tokens = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self.is_real: Bool[Tensor, "batch_or_1 room"] = torch.ones(1, n_rooms, dtype=torch.bool, device=device)
        if past.is_real is not None:
            self.is_real = self.is_real.repeat(batch, 1)
            self.is_real[:, : past.n_positions] = past.is_real
        self.n_padding: Int[Tensor, "batch_or_1 1"] = (~self.is_real).sum(dim=1, keepdim=True)
        self._replay: Callable[[], Tensor] | None = None

    @staticmethod
    def capacity(n_positions: int) -> int:
        """The room to make for so many positions."""
        return -(-n_positions // _WHOLE) * _WHOLE

    def logits(self, tokens: Int[Tensor, "batch 1"]) -> Float[Tensor, "batch d_vocab"]:
        """What follows each row's new token, which is held from now on."""
        n_held = self.past.n_positions
        self.tokens.copy_(tokens)
        self.place.fill_(n_held)
        if self._replay is None:
            is_worth_it = self.tokens.is_cuda and self.n_steps >= _WORTH_CAPTURING
            self._replay = captured(self._run, self.tokens.device) if is_worth_it else self._run
        logits = self._replay()
        held = None if self.past.is_real is None else self.is_real[:, : n_held + 1]
        self.past.hold(n_held + 1, held)
        return logits

    def _run(self) -> Float[Tensor, "batch d_vocab"]:
        """The step on what its tensors hold now. It may be run again: it writes the same to the same place."""
        position_ids = self.place - self.n_padding + self.past.n_dropped
        masks = {window: self._mask(window) for window in set(self.step.windows)}
        return self.step.logits(self.tokens, position_ids, masks, self.rooms)

    def _mask(self, window: int | None) -> Bool[Tensor, "batch_or_1 1 1 room"]:
        """True where the new position may attend."""
        key = torch.arange(self.is_real.shape[1], device=self.place.device)
        allowed = self.is_real & (key <= self.place)
        if window is not None:
            allowed = allowed & (key > self.place - window)
        return rearrange(allowed, "batch room -> batch 1 1 room")


def check_fits(model: Any, use_cache: bool) -> None:
    """Raise for a generation whose step cannot be run on fixed shapes.

    Raises:
        InputError: without kept keys and values, for a decoder of another kind or one that is spread over devices, or
            rotary positions that change with the length.
    """
    what, advice = "static_cache", "Leave out static_cache."
    if not use_cache:
        raise InputError(what, "keys and values to be kept", "use_cache=False", advice)
    if not PlainStep.fits(model):
        raise InputError(what, "a causal decoder with rotary positions and gated MLPs on one device", model, advice)
    kind = getattr(model.rotary, "rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise InputError(what, "rotary positions that are the same at every length", f"{kind!r}", advice)

"""Writers and readers of every kind, for any hook of a tiny model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from vlm_lens import ActivationPatch, HookedVLM, NoiseAblation
from vlm_lens.attachments import Attachment, Reader, Writer
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class Kept(Reader):
    """Keeps whole activations, and says nothing of which rows it reads."""

    hook: Any
    layers: Any = "all"

    def read(self, activation: Tensor, here: Here) -> Tensor:
        return activation.clone()


@dataclass(frozen=True, eq=False)
class KeptRows(Reader):
    """Keeps some positions of a hook, and asks for these alone."""

    hook: Any
    positions: Selector
    layers: Any = "all"

    def read(self, activation: Tensor, here: Here) -> Tensor:
        assert activation.ndim == 3
        return torch.where(here.rows(self.positions)[..., None], activation, 0.0)[:, -5:]

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]]:
        names = self.hook_names(ground.model)
        return {name: ground.sequences_at(name).mask(self.positions) for name in names}


@dataclass(frozen=True, eq=False)
class Halved(Writer):
    """A user's own: halves some positions in place, and says nothing of its reach."""

    hook: Any
    positions: Selector

    def write(self, activation: Tensor, here: Here) -> Tensor:
        rows = here.rows(self.positions)
        activation[rows] *= 0.5
        return activation


@dataclass(frozen=True, eq=False)
class HalvedWithReach(Halved):
    """The same, and says which positions it may change."""

    def touched(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]]:
        return {name: ground.sequences_at(name).mask(self.positions) for name in self.hook_names(ground.model)}


@dataclass(frozen=True, eq=False)
class Opened(Writer):
    """Opens every edge of some queries again, whatever others have blocked; all of them are heads' own."""

    hook: Any
    positions: Selector
    n_heads: int = 4

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation | here.rows(self.positions)[:, None, :, None].expand(-1, self.n_heads, -1, -1)

    def touched(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]]:
        return {name: ground.sequences_at(name).mask(self.positions) for name in self.hook_names(ground.model)}


@dataclass(frozen=True, eq=False)
class Blinded(Opened):
    """Leaves some queries nothing to attend to."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation & ~here.rows(self.positions)[:, None, :, None]


def writer_at(vlm: HookedVLM, name: str, positions: Selector, source: Any) -> Attachment:
    """A writer that a hook takes: noise, or another run's scores and patterns."""
    if name.endswith(("hook_attn_scores", "hook_pattern", "hook_scale")):
        return ActivationPatch(source, name, positions)
    return NoiseAblation(positions, name, scale=1.5)


def other_inputs(vlm: HookedVLM, inputs: Inputs) -> Inputs:
    """Another picture under the same words."""
    pixels = inputs["pixel_values"].flip(-1) + 0.5
    return vlm.as_inputs({**inputs, "pixel_values": pixels})

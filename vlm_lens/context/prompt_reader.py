"""What a compressed context is made of, read while a description is generated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record

Layers = tuple[Float[Tensor, "pos kv_head d_head"], ...]
"""One tensor a layer, each where its layer is."""


class PromptRead(NamedTuple):
    """What `PromptReader` gives.

    Attributes:
        ranking: the attention of the rows that predict to each image token, mean over steps and heads.
        keys: of the prompt, rotated.
        values: of the prompt.
    """

    ranking: Float[Tensor, "layer image_pos"]
    keys: Layers
    values: Layers


@dataclass(frozen=True, eq=False)
class PromptReader(Reader):
    """Reads a prompt's keys and values, and where in the picture the generated tokens look: one row, all layers."""

    def hook_names(self, model: Any) -> list[str]:
        """Pattern, keys and values of every decoder layer, in the order in which they fire."""
        key = "hook_k" if model.rotary is None else "hook_rot_k"
        hooks = (key, "hook_v", "hook_pattern")
        return [f"blocks.{layer}.attn.{hook}" for layer in range(model.cfg.n_layers) for hook in hooks]

    def read(self, activation: Tensor, here: Here) -> Tensor | None:
        """A row of attention to the image tokens at every step; keys and values of the prompt alone."""
        if here.name.endswith("hook_pattern"):
            last = activation[0, :, here.rows("predicting")[0]]
            return last[:, :, here.keys("image")[0]].float().mean(dim=(0, 1)).cpu()
        return activation[0] if here.step == 0 else None

    def result(self, reads: Sequence[Read], record: Record) -> PromptRead:
        """The attention of all steps, each counted once."""
        found: dict[str, dict[int, list[Tensor]]] = {"hook_pattern": {}, "keys": {}, "hook_v": {}}
        for here, value in reads:
            name = here.name.rsplit(".", 1)[-1]
            assert here.layer is not None
            found["keys" if name.endswith("_k") else name].setdefault(here.layer, []).append(value)
        ranking = torch.stack([torch.stack(steps).mean(dim=0) for _, steps in sorted(found["hook_pattern"].items())])
        keys, values = (tuple(one for _, (one,) in sorted(found[name].items())) for name in ("keys", "hook_v"))
        return PromptRead(ranking, keys, values)

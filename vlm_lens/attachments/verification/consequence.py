"""Whether anything reads what a writer has written, and whether the result depends on it."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.position_writer import PositionWriter
from vlm_lens.attachments.verification.finding import Finding, title_of
from vlm_lens.attachments.verification.masks import MaskProof
from vlm_lens.attachments.verification.replay import Looks
from vlm_lens.attachments.verification.writers import entries_of, noise_like
from vlm_lens.errors import VerificationError

_SUMMED = ("hook_embed", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "attn.hook_z", "hook_attn_out",
           "hook_mlp_out", "projector.hook_in", "projector.hook_out", "ln_final.hook_normalized", "unembed.hook_in",
           "hook_image_embed", "hook_text_embed")  # fmt: skip
_LAST = ("unembed.hook_out", "unembed.hook_in", "ln_final.hook_normalized", "hook_image_embed", "hook_text_embed")

IS_DEAD_END = "changes nothing that reaches the result"
"""The result is what each pass gives at its last position."""

Sums = dict[tuple[str, int], tuple[float, float]]


class ConsequenceProof:
    """Sums of activations along the model, with and without noise in the place of what a writer has left.

    A model that shows an activation and goes on with its own moves nowhere.

    Args:
        model: the model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.names = [name for name in model.hook_dict if name.endswith(_SUMMED)]
        self.clean: Sums = {}

    def looks(self) -> Looks:
        """The hooks that sum what the first replay sees."""
        return [(name, self._summing(self.clean), True) for name in self.names]

    def looks_with_noise(self, writer: PositionWriter, sums: Sums) -> Looks:
        """The hooks that put noise in the place of what a writer has left, and sum what comes after."""

        def noised(activation: Tensor, here: Here) -> Tensor:
            return torch.where(entries_of(writer, activation, here), noise_like(activation, here), activation)

        own = writer.hook_names(self.model)
        others = [name for name in self.names if name not in own]
        return [*[(name, noised, False) for name in own], *[(name, self._summing(sums), True) for name in others]]

    def finding(self, writer: PositionWriter, sums: Sums, is_end_moved: bool | None) -> Finding:
        """Whether the result moved, and how many activations on the way.

        Args:
            writer: in whose place there was noise.
            sums: what came after it.
            is_end_moved: whether the result moved; None where the run gave none.

        Raises:
            VerificationError: if nothing moved at all, although something follows.
        """
        n_moved = sum(total != self.clean[key] for key, total in sums.items())
        is_last = all(name.endswith(_LAST) for name in writer.hook_names(self.model))
        if not n_moved and not is_end_moved and not is_last:
            raise VerificationError(
                f"{writer!r} at {', '.join(writer.hook_names(self.model)[:3])}",
                "noise in the place of what it leaves to move something after it",
                f"{len(sums)} activations that keep their sums",
                "The model shows this activation and goes on with another.",
            )
        if is_end_moved is None:
            check = f"the model reads what it leaves: noise there moves {n_moved:,} activations that follow"
        elif is_end_moved:
            check = (
                f"the model reads what it leaves: noise there moves the result, and {n_moved:,} activations before it"
            )
        else:
            check = f"{IS_DEAD_END}: noise there leaves every bit of it, and {n_moved:,} other activations move"
        return Finding(title_of(writer), check)

    def _summing(self, sums: Sums) -> Any:
        def summed(activation: Tensor, here: Here) -> None:
            exact = activation.double()
            sums[here.name, here.step] = (float(exact.sum()), float(exact.abs().sum()))

        return summed


def looks_with_noise_read(blocker: EdgeBlocker, masks: MaskProof) -> Looks:
    """The hooks that put noise in the place of what a blocker's queries read."""

    def noised(z: Tensor, here: Here) -> Tensor:
        loses = masks.own_edges(blocker, here).any(dim=-1)
        return torch.where(rearrange(loses, "batch head query -> batch query head 1"), noise_like(z, here), z)

    names = [masks.tower.hook_name(layer, "attn.hook_z") for layer in masks.asked.layers_of(blocker)]
    return [(name, noised, False) for name in names]

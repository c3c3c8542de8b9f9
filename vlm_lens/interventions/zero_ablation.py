"""Zero ablation: some positions say nothing."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlm_lens.attachments import Here
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.interventions.base_ablation import Ablation
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class ZeroAblation(Ablation):
    """Puts zeros in the place of some positions' activations; all others keep their bits.

    Zero is rarely what a model has ever met at a stream: `MeanAblation` stays among likely values. At `attn.hook_z` it
    takes heads away, at `hook_pattern` the rows of some queries.

    Attributes:
        positions: whose activations.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_mlp_out"`.
        layers: of a pattern's matches; see `AttentionKnockout`.
        heads: at a hook that tells heads apart; None for all.

    Example:
        >>> from vlm_lens import ZeroAblation
        >>> ZeroAblation("last", "blocks.*.attn.hook_z", layers=range(2, 4), heads=[0, 3])
        ZeroAblation(positions='last', hook='blocks.*.attn.hook_z', layers=range(2, 4), heads=[0, 3])
    """

    positions: Selector
    hook: Any = "projector.hook_out"
    _: KW_ONLY
    layers: Any = "all"
    heads: Any = None

    is_local: ClassVar[bool] = True

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """Zero."""
        return activation.new_zeros(())

    def expected(self, before: Tensor, here: Here) -> Tensor:
        """Zeros, for `run.verify()`."""
        return torch.zeros(before.shape)

    def check_at(self, hook_name: str, features: tuple[int, ...] | None, ground: Ground) -> None:
        """Zero fits everywhere but in a mask.

        Raises:
            HookError: for `hook_mask`; for scores, where zero is no less than any other; for a norm's scale, by which
                the stream is divided.
        """
        if hook_name.endswith("hook_scale"):
            raise HookError(repr(self), "a hook that nothing is divided by", hook_name, "Ablate hook_normalized.")
        if hook_name.endswith(("hook_mask", "hook_attn_scores")):
            advice = "AttentionKnockout blocks edges of attention."
            raise HookError(repr(self), "a hook where zero means nothing", hook_name, advice)

"""The positions of one forward pass: where they stand, and which of them are real."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlm_lens.model.attention_mask import AttentionMask
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.key_value_cache import KeyValueCache


@dataclass(frozen=True, eq=False)
class Positions:
    """The new positions of a pass, after those that a key-value cache holds.

    Attributes:
        batch: rows of the batch.
        n_new: positions of this pass.
        n_before: positions already held.
        is_real: for held and new positions together which are not padding; None when none is.
        device: where ids and masks are made.
        n_dropped: earlier positions whose keys are held no more, and which count all the same.
    """

    batch: int
    n_new: int
    n_before: int
    is_real: Bool[Tensor, "batch key_pos"] | None
    device: torch.device
    n_dropped: int = 0

    @classmethod
    def after(
        cls,
        past: KeyValueCache | None,
        batch: int,
        n_new: int,
        is_real: Bool[Tensor, "batch new_pos"] | None,
        device: torch.device,
    ) -> "Positions":
        """The positions of a pass whose new ones are real where `is_real` says so (everywhere for None)."""
        n_before = 0 if past is None else past.n_positions
        n_dropped = 0 if past is None else past.n_dropped
        held = None if past is None else past.is_real
        if is_real is None and held is None:
            return cls(batch, n_new, n_before, None, device, n_dropped)
        if held is None:
            held = torch.ones(batch, n_before, dtype=torch.bool, device=device)
        if is_real is None:
            is_real = torch.ones(batch, n_new, dtype=torch.bool, device=device)
        joined = torch.cat((held.to(device), is_real.to(device)), dim=1)
        return cls(batch, n_new, n_before, joined, device, n_dropped)

    @property
    def ids(self) -> Int[Tensor, "batch_or_1 new_pos"]:
        """Positions counted from the first real token, so that left padding turns nothing."""
        if self.is_real is None:
            start = self.n_before + self.n_dropped
            return torch.arange(start, start + self.n_new, device=self.device)[None]
        return (self.is_real.long().cumsum(dim=1) - 1).clamp(min=0)[:, self.n_before :] + self.n_dropped

    def masks(self, cfg: TransformerConfig) -> dict[int | None, AttentionMask]:
        """One mask for each window size among the layers."""
        is_causal, n_keys = cfg.attention_dir == "causal", self.n_before + self.n_new
        return {
            window: AttentionMask(self.batch, self.n_new, n_keys, is_causal, window, self.is_real, self.device)
            for window in set(cfg.window_sizes)
        }

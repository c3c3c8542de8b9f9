"""Who may attend to whom: a rule, written out as a tensor only where somebody needs one."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AttentionMask:
    """The mask of one forward pass for layers of one window size.

    The queries are the last `n_queries` of the `n_keys` positions: all of them in a plain run, the new ones under
    cached generation.

    Attributes:
        batch: rows of the batch.
        n_queries: query positions of this pass.
        n_keys: key positions, those of the key-value cache included.
        is_causal: whether a query sees no later key.
        window: how many positions a query sees, itself included; None for all.
        is_real: which keys are not padding; None when none is padding.
        device: where the tensor is made.
    """

    batch: int
    n_queries: int
    n_keys: int
    is_causal: bool
    window: int | None
    is_real: Bool[Tensor, "batch key_pos"] | None
    device: torch.device

    @cached_property
    def is_windowed(self) -> bool:
        """Whether the window hides anything at this length."""
        return self.window is not None and self.n_keys > self.window

    @cached_property
    def kernel_flag(self) -> bool:
        """Whether the kernel's own causal flag says everything (no tensor needed, more than one query)."""
        return self.is_causal and self.n_queries > 1 and self.kernel_mask is None

    @cached_property
    def kernel_mask(self) -> Bool[Tensor, "batch 1 query_pos key_pos"] | None:
        """What the fused kernel is given: None wherever its causal flag, or nothing, is enough."""
        continues = self.is_causal and 1 < self.n_queries < self.n_keys
        if self.is_real is None and not self.is_windowed and not continues:
            return None
        return self.allowed

    @cached_property
    def allowed(self) -> Bool[Tensor, "batch 1 query_pos key_pos"]:
        """True where a query may attend to a key. A padding query may attend to nothing."""
        query = torch.arange(self.n_keys - self.n_queries, self.n_keys, device=self.device)[:, None]
        key = torch.arange(self.n_keys, device=self.device)[None, :]
        allowed = torch.ones(self.n_queries, self.n_keys, dtype=torch.bool, device=self.device)
        if self.is_causal:
            allowed = allowed & (key <= query)
        if self.is_windowed:
            assert self.window is not None
            allowed = allowed & (key > query - self.window)
        allowed = allowed.expand(self.batch, 1, -1, -1)
        if self.is_real is not None:
            allowed = allowed & rearrange(self.is_real, "batch key_pos -> batch 1 1 key_pos")
            is_real_query = self.is_real[:, self.n_keys - self.n_queries :]
            allowed = allowed & rearrange(is_real_query, "batch query_pos -> batch 1 query_pos 1")
        return allowed

    def to(self, device: torch.device) -> "AttentionMask":
        """The same rule for another device."""
        return replace(self, device=device, is_real=None if self.is_real is None else self.is_real.to(device))

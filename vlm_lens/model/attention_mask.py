"""Who may attend to whom: a rule, written out as a tensor only where somebody needs one."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Restriction:
    """What hooks left of an attention mask.

    Attributes:
        allowed: True where a query may still attend to a key.
        rows: the queries of this pass that lost a key, counted within the pass.
        lonely: the queries that have no key left and had one before.
    """

    allowed: Bool[Tensor, "batch heads query_pos key_pos"]
    rows: Int[Tensor, " touched"]
    lonely: tuple[int, ...]

    @property
    def is_everywhere(self) -> bool:
        """Whether every query lost a key."""
        return len(self.rows) == self.allowed.shape[-2]


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
    _seen: dict[tuple[int, int], tuple[Tensor, Restriction]] = field(default_factory=dict, init=False, repr=False)
    _indices: dict[tuple[int, ...], slice | Tensor] = field(default_factory=dict, init=False, repr=False)

    asking: ClassVar[None] = None
    """Every position asks (see `PackedRows`, where some give their keys and values alone)."""

    def restricted(self, seen: Bool[Tensor, "batch heads query_pos key_pos"]) -> Restriction:
        """What a mask that hooks have written leaves: it can block edges and never grants one.

        Hooks that give several layers one tensor have it examined once; on a GPU that is one wait instead of many. One
        that was edited since is examined again.
        """
        key = (id(seen), -1 if seen.is_inference() else seen._version)
        if not seen.is_inference() and key in self._seen:
            return self._seen[key][1]
        allowed = seen & self.allowed
        had_key, has_key = self.allowed.any(dim=-1), allowed.any(dim=-1)
        is_touched = (allowed != self.allowed).any(dim=-1).flatten(0, -2).any(dim=0)
        rows = is_touched.nonzero().flatten()
        lonely = (had_key & ~has_key).flatten(0, -2).any(dim=0).nonzero().flatten().tolist()
        restriction = Restriction(allowed, rows, tuple(lonely))
        self._seen[key] = (seen, restriction)  # the tensor is kept, so that its id stays its own
        return restriction

    def index_of(self, rows: tuple[int, ...]) -> slice | Int[Tensor, " row"]:
        """An index of some query rows, ascending: neighbours are a slice, others are brought to the device once."""
        if rows and rows[-1] - rows[0] + 1 == len(rows):
            return slice(rows[0], rows[-1] + 1)
        if rows not in self._indices:
            self._indices[rows] = torch.tensor(rows, dtype=torch.long, device=self.device)
        return self._indices[rows]

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

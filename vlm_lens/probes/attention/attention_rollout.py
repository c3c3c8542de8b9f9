"""Attention rollout: how much of each position reaches a query through all layers, if attention were all there is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Here, Read, Record
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, InputError
from vlm_lens.probes.attention.attention_flow import Asked, AttentionFlow, FlowRead, Pattern
from vlm_lens.probes.attention.flow_reading import FlowReading


@dataclass(frozen=True, eq=False)
class AttentionRollout(AttentionFlow):
    """The running product of the layers' attention, heads averaged, with the residual stream mixed in.

    After layer l it is A_l A_(l-1) ... A_0 with A = residual I + (1 - residual) mean over heads of the pattern; each
    row sums to 1. `run[rollout]` is a `FlowReading`, whose layer l is the product up to that layer. One matrix
    `[batch query_pos key_pos]` is held at a time. Under cached generation the prompt alone is rolled out: a later
    pass does not hold the earlier rows' products. With `layers`, it begins at the first of them.

    Attributes:
        residual: the share of the residual stream, from 0 to 1.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020, section 3.

    Example:
        >>> from vlm_lens import AttentionRollout
        >>> AttentionRollout("cls", tower="vision")
        AttentionRollout(queries='cls', tower='vision')
    """

    residual: float = field(default=0.5, kw_only=True)

    is_local: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keeps != "mean":
            raise InputError("AttentionRollout", "keeps='mean': it is of the heads together", repr(self.keeps))
        if not 0.0 <= self.residual <= 1.0:
            raise InputError("AttentionRollout", "residual from 0 to 1", self.residual)

    def check(self, ground: Ground) -> None:
        """As `AttentionFlow`; and under cached generation the queries must be of the prompt.

        Raises:
            EmptySelectionError: none of them is.
        """
        super().check(ground)
        layout = ground.planned.layout
        if self.tower != "decoder" or layout is None or not ground.planned.keeps_keys:
            return
        if not bool(layout.mask(self.queries)[:, : layout.n_prompt].any()):
            rule, advice = (
                "queries of the prompt, which alone is rolled out",
                "generate(..., use_cache=False) runs it all.",
            )
            raise EmptySelectionError(f"queries of {self!r}", rule, "generated ones alone", advice)

    def asked(self, ground: Ground) -> None:
        """All: what reaches a query comes by way of every other."""

    def read(self, activation: Pattern, here: Here) -> FlowRead | None:
        """As `AttentionFlow`, of the product so far; None for what is generated with a cache."""
        return None if here.span.start else super().read(activation, here)

    def result(self, reads: Sequence[Read], record: Record) -> FlowReading:
        """As `AttentionFlow`, each layer standing for all up to it."""
        return replace(super().result(reads, record), is_rolled_out=True)

    def weights(self, pattern: Pattern, here: Here, asked: Asked) -> Float[Tensor, "query 1 key_pos"]:
        """The rows of the product that the queries asked for have."""
        held, key = here.current.memo, ("rollout", id(self))
        chosen = pattern if asked.heads is None else pattern[:, asked.heads]
        # A query with nothing to attend to (padding) keeps itself alone.
        mean = reduce(chosen.float(), "batch head query key -> batch query key", "mean")
        identity = torch.eye(mean.shape[-1], device=mean.device)
        mixed = self.residual * identity + (1 - self.residual) * mean
        mixed = torch.where(mean.any(dim=-1, keepdim=True), mixed, identity)
        held[key] = mixed @ held[key] if key in held else mixed
        return rearrange(held[key][asked.rows, asked.columns], "query key -> query 1 key")

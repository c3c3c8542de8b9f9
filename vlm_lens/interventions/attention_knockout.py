"""Attention knockout: some queries no longer see some keys."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments import EdgeBlocker
from vlm_lens.attachments.edge_blocker import rectangle
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class AttentionKnockout(EdgeBlocker):
    """Blocks attention from some query positions to some key positions, before the softmax.

    The remaining weights grow to sum to 1, rotary positions stay, and attention stays fused.

    Attributes:
        queries: the positions that no longer see; `predicting` are the rows that produce the generated tokens.
        keys: the positions that are no longer seen.
        layers: "all", a range, a list, or a tuple of two depths such as `(0.5, 1.0)`.
        heads: of the queries; None for all.
        tower: "decoder", or "vision" with the tower's own positions (`cls`, `patches`, regions).
        bidirectional: block the edges from keys to queries as well.

    Source: Geva et al., "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", 2023.

    Example:
        >>> from vlm_lens import AttentionKnockout
        >>> AttentionKnockout("last", "image", layers=range(4, 8))
        AttentionKnockout(queries='last', keys='image', layers=range(4, 8))
    """

    queries: Selector
    keys: Selector
    layers: Any = "all"
    _: KW_ONLY
    heads: Any = None
    tower: Literal["decoder", "vision", "text"] = "decoder"
    bidirectional: bool = False

    blocks_rectangle: ClassVar[bool] = True

    def blocked(self, layer: int, sequences: Sequences, queries: range) -> Bool[Tensor, "batch query_pos key_pos"]:
        """Every edge from the queries to the keys."""
        rows = slice(queries.start, queries.stop)
        is_query, is_key = (sequences.mask(one)[:, : queries.stop] for one in (self.queries, self.keys))
        blocked = rectangle(is_query[:, rows], is_key)
        return blocked | rectangle(is_key[:, rows], is_query) if self.bidirectional else blocked

    def losing(self, layer: int, sequences: Sequences) -> Bool[Tensor, "batch query_pos"]:
        """The queries, and the keys if the way back is blocked too; in a causal tower those that come after one."""
        is_query, is_key = sequences.mask(self.queries), sequences.mask(self.keys)
        losing = is_query & self._seen_from(is_key)
        return losing | (is_key & self._seen_from(is_query)) if self.bidirectional else losing

    def _seen_from(self, keys: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """True where some of these keys can be seen from."""
        return keys.any(dim=1, keepdim=True).expand_as(keys) if self.tower == "vision" else keys.cummax(dim=1).values

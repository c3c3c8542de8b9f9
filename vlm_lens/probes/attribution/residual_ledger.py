"""Everything that is added to the stream at a few positions of one pass, as it is added."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.attachments.here import Here
from vlm_lens.layout import Selector
from vlm_lens.probes.answer import Contrast


class Component(NamedTuple):
    """Something that adds to the stream.

    Attributes:
        kind: "embed", "positions" (learned ones), "attn", "head", "other attn" (what a layer's attention adds beside
            the heads named: its bias, other heads), "mlp", "edit" (what an intervention wrote to the stream itself), or
            "bias" (of the final norm and the unembedding).
        layer: None outside the layers.
        head: of a head.
    """

    kind: str
    layer: int | None = None
    head: int | None = None

    @property
    def label(self) -> str:
        """In a few letters: "L3H2", "L3 mlp"."""
        if self.head is not None:
            return f"L{self.layer}H{self.head}"
        return self.kind if self.layer is None else f"L{self.layer} {self.kind}"


@dataclass(eq=False)
class ResidualLedger:
    """What was added to the stream at some positions of one pass: they sum to the stream, whoever wrote it.

    Each entry is reduced at once where the direction of interest is known, so that a ledger stays small.

    Attributes:
        rows: the row of each position.
        columns: where each stands in the activations of this pass.
        directions: the direction of interest of each; None while it is not known.
        entries: in the order in which they were added: numbers, or vectors without directions.
    """

    rows: Int[Tensor, " query"]
    columns: Int[Tensor, " query"]
    directions: Float[Tensor, "query d_model"] | None = None
    entries: dict[Component, Tensor] = field(default_factory=dict)
    scale: Tensor | None = None
    _expected: Tensor | None = None
    _stream: Tensor | None = None
    _heads: Tensor | None = None

    @classmethod
    def at(cls, here: Here, positions: Selector) -> "ResidualLedger":
        """An empty ledger for some of the positions that a pass holds."""
        rows, columns = here.rows(positions).nonzero(as_tuple=True)
        return cls(rows, columns)

    def __len__(self) -> int:
        """How many positions it follows."""
        return len(self.rows)

    def pick(self, activation: Float[Tensor, "batch pos *rest"]) -> Float[Tensor, "query *rest"]:
        """An activation at the ledger's positions, in fp32 or better."""
        return self._float(self.pick_as_it_is(activation))

    def pick_as_it_is(self, activation: Float[Tensor, "batch pos *rest"]) -> Float[Tensor, "query *rest"]:
        """An activation at the ledger's positions."""
        return activation[self.rows.to(activation.device), self.columns.to(activation.device)]

    def see(self, hook: str, layer: int | None, activation: Tensor) -> None:
        """A hook of the stream, or of what is added to it, has fired."""
        picked = self.pick_as_it_is(activation)
        match hook:
            case "hook_embed":
                self._add(Component("embed"), picked)
                self._expected = picked
            case "hook_pos_embed":
                assert self._expected is not None
                self._add(Component("positions"), picked)
                self._expected = self._expected + picked
            case "hook_attn_out":
                assert self._stream is not None
                if self._heads is None:
                    self._add(Component("attn", layer), picked)
                else:
                    self._add(Component("other attn", layer), self._float(picked) - self._heads.to(picked.device))
                self._heads, self._expected = None, self._stream + picked
            case "hook_mlp_out":
                assert self._stream is not None
                self._add(Component("mlp", layer), picked)
                self._expected = self._stream + picked
            case "hook_resid_pre" | "hook_resid_mid" | "hook_resid_post":
                self._see_stream(layer, picked)
            case _:
                raise AssertionError(hook)

    def see_heads(self, layer: int, results: Float[Tensor, "query head d_model"], heads: tuple[int, ...]) -> None:
        """What some heads of a layer add, before its `hook_attn_out` fires."""
        for place, head in enumerate(heads):
            self._add(Component("head", layer, head), results[:, place])
        self._heads = self._float(results).sum(dim=1)

    def _see_stream(self, layer: int | None, picked: Tensor) -> None:
        """The stream itself: whatever it holds beyond the sum so far was written by an intervention."""
        if self._expected is None:  # the run was entered at this layer
            self._add(Component("embed"), picked)
        else:
            expected = self._expected.to(picked.device)
            # The sum is taken as the model takes it, so that without an intervention it is equal to the bit.
            if not torch.equal(expected, picked):
                self._add(Component("edit", layer), self._float(picked) - self._float(expected))
        self._expected = self._stream = picked

    def _add(self, component: Component, vectors: Float[Tensor, "query d_model"]) -> None:
        vectors = self._float(vectors)
        if self.directions is not None:
            vectors = (vectors * self.directions.to(vectors.device)).sum(dim=-1)
        known = self.entries.get(component)
        self.entries[component] = vectors if known is None else known + vectors

    def along(self, directions: Float[Tensor, "query d_model"]) -> Float[Tensor, "query component"]:
        """How far each entry goes in the directions of interest."""
        columns = [
            entry if self.directions is not None else (entry * directions.to(entry.device)).sum(dim=-1)
            for entry in self.entries.values()
        ]
        return torch.stack([column.to(directions.device) for column in columns], dim=-1)

    @staticmethod
    def _float(values: Tensor) -> Tensor:
        return values.to(torch.promote_types(values.dtype, torch.float32))


class Page(NamedTuple):
    """What one pass added to the logits at its positions: a ledger, closed.

    Attributes:
        rows, positions: of each query, positions absolute.
        components: what added.
        values: how much, in units of the logit.
        logits: what they should sum to.
        contrasts: what is explained at each query.
        scale: the final norm's.
    """

    rows: Tensor
    positions: Tensor
    components: tuple[Component, ...]
    values: Float[Tensor, "query component"]
    logits: Float[Tensor, " query"]
    contrasts: tuple[Contrast, ...]
    scale: Float[Tensor, " query"]

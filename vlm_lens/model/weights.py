"""A tower's weights in TransformerLens's form: stacked over layers when asked for, views layer by layer otherwise."""

from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens._tl import FactoredMatrix
from vlm_lens.model.block import TransformerBlock
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.norm import Norm


class StackedWeights:
    """Weights of all layers in one tensor, made on request; `blocks[layer].attn.W_Q` is the view of one layer."""

    cfg: TransformerConfig
    blocks: nn.ModuleList
    ln_final: Norm
    embed: Any
    unembed: Any

    def _attention(self, name: str) -> Tensor:
        return torch.stack([getattr(block.attn, name) for block in self.blocks])

    def _mlp(self, name: str) -> Tensor:
        return torch.stack([getattr(block.mlp, name) for block in self.blocks])

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """Token embedding, the checkpoint's own."""
        return self.embed.W_E

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """Unembedding, a view of the checkpoint's."""
        return self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        """The unembedding's bias."""
        return self.unembed.b_U

    @property
    def W_Q(self) -> Float[Tensor, "layer head_index d_model d_head"]:
        """Query weights of all layers."""
        return self._attention("W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head_index d_model d_head"]:
        """Key weights of all layers, for each query head."""
        return self._attention("W_K")

    @property
    def W_V(self) -> Float[Tensor, "layer head_index d_model d_head"]:
        """Value weights of all layers, for each query head."""
        return self._attention("W_V")

    @property
    def W_O(self) -> Float[Tensor, "layer head_index d_head d_model"]:
        """Output weights of all layers."""
        return self._attention("W_O")

    @property
    def W_in(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """MLP input weights of all layers."""
        return self._mlp("W_in")

    @property
    def W_gate(self) -> Float[Tensor, "layer d_model d_mlp"] | None:
        """Gate weights of all layers; None where the MLP has no gate."""
        return self._mlp("W_gate") if self.cfg.gated_mlp else None

    @property
    def W_out(self) -> Float[Tensor, "layer d_mlp d_model"]:
        """MLP output weights of all layers."""
        return self._mlp("W_out")

    @property
    def b_Q(self) -> Float[Tensor, "layer head_index d_head"]:
        """Query biases of all layers."""
        return self._attention("b_Q")

    @property
    def b_K(self) -> Float[Tensor, "layer head_index d_head"]:
        """Key biases of all layers, for each query head."""
        return self._attention("b_K")

    @property
    def b_V(self) -> Float[Tensor, "layer head_index d_head"]:
        """Value biases of all layers, for each query head."""
        return self._attention("b_V")

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        """Attention output biases of all layers."""
        return self._attention("b_O")

    @property
    def b_in(self) -> Float[Tensor, "layer d_mlp"]:
        """MLP input biases of all layers."""
        return self._mlp("b_in")

    @property
    def b_out(self) -> Float[Tensor, "layer d_model"]:
        """MLP output biases of all layers."""
        return self._mlp("b_out")

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_K^T of every head of every layer, factored."""
        return FactoredMatrix(self.W_Q, rearrange(self.W_K, "layer head d_model d_head -> layer head d_head d_model"))

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of every head of every layer, factored."""
        return FactoredMatrix(self.W_V, self.W_O)

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """The sum of the biases that the layers below `layer` added to the stream (TransformerLens's method).

        Args:
            layer: how many layers to take; with `mlp_input` also this layer's attention.
            mlp_input: whether the stream is taken before this layer's MLP.
            include_mlp_biases: whether to add the MLPs' output biases.
        """
        total = torch.zeros(self.cfg.d_model, dtype=self.ln_final.w.dtype, device=self.ln_final.w.device)
        blocks = cast(list[TransformerBlock], list(self.blocks))
        for block in blocks[:layer]:
            total = total + block.attn.b_O
            total = total + block.mlp.b_out if include_mlp_biases else total
        if mlp_input:
            total = total + blocks[layer].attn.b_O
        return total

"""One new position through a decoder at which nobody stands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlm_lens.model.block import TransformerBlock
from vlm_lens.model.hook_point import is_every_module_watched
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.linear import device_of
from vlm_lens.model.positions import Positions
from vlm_lens.model.rotary import RotaryAngles, rotated
from vlm_lens.model.scaled_attention import fused_attention

Map = Callable[[Tensor], Tensor]


@runtime_checkable
class KeysValues(Protocol):
    """Takes the new keys and values of a layer, and gives all that there are."""

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


class PlainStep:
    """The decoder's pass for one new position, straight through the checkpoint's own modules.

    A hook point at which nobody stands costs a function call. In a pass of a single position that call takes as long
    as the arithmetic around it, and a layer has some twenty of them. The kernels here are those of the blocks, on the
    same operands: the logits are the same to the bit. `is_watched` says when the blocks have to run instead.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = [PlainLayer.of(block) for block in model.blocks]
        self.windows: tuple[int | None, ...] = model.cfg.window_sizes
        self._passed_by = [model, *_modules_of_steps(model)]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a decoder's layers are of the kind that is written out here, all on one device."""
        cfg, devices = model.cfg, {device_of(linear) for linear in _linears(model)}
        return cfg.attention_dir == "causal" and cfg.gated_mlp and model.rotary is not None and len(devices) == 1

    @property
    def is_watched(self) -> bool:
        """Whether somebody stands at any module that a step would pass by, with a hook of ours or of torch's."""
        return is_every_module_watched() or any(
            one._forward_hooks or one._forward_pre_hooks or one._backward_hooks or one._backward_pre_hooks
            for one in self._passed_by
        )

    def after(self, past: KeyValueCache, tokens: Int[Tensor, "batch 1"]) -> Float[Tensor, "batch d_vocab"]:
        """What follows each row's new token, which is held from now on."""
        positions = Positions.after(past, tokens.shape[0], 1, None, tokens.device)
        masks = {window: mask.kernel_mask for window, mask in positions.masks(self.model.cfg).items()}
        logits = self.logits(tokens, positions.ids, masks, past.layers)
        past.hold(positions.n_before + 1, positions.is_real)
        return logits

    def logits(
        self,
        tokens: Int[Tensor, "batch 1"],
        position_ids: Int[Tensor, "batch_or_1 1"],
        masks: Mapping[int | None, Tensor | None],
        past: Sequence[KeysValues],
    ) -> Float[Tensor, "batch d_vocab"]:
        """What follows each row's new token.

        Args:
            tokens: the new token of each row.
            position_ids: where it stands.
            masks: for each window size what the fused kernel is given.
            past: each layer's keys and values of earlier positions; extended by this run.
        """
        model = self.model
        stream = model.embed(tokens)
        angles = RotaryAngles.of(*model.rotary(stream, position_ids))
        for layer, window, held in zip(self.layers, self.windows, past, strict=True):
            stream = layer.after(stream, angles, masks[window], held)
        last: Tensor = model.unembed.linear(model.ln_final.norm(stream))
        return last[:, -1]


class PlainLayer(NamedTuple):
    """The maps of one layer, called without torch's machinery for hooks, at which nobody stands either."""

    ln1: Map
    q: Map
    k: Map
    v: Map
    o: Map
    ln2: Map
    gate: Map
    mlp_in: Map
    mlp_out: Map
    activation: Map
    d_head: int
    scale: float

    @classmethod
    def of(cls, block: TransformerBlock) -> "PlainLayer":
        """The maps of a block."""
        attn, mlp = block.attn, block.mlp
        assert mlp.mlp_gate is not None
        return cls(
            block.ln1.norm.forward, attn.q_proj.forward, attn.k_proj.forward, attn.v_proj.forward, attn.o_proj.forward,
            block.ln2.norm.forward, mlp.mlp_gate.forward, mlp.mlp_in.forward, mlp.mlp_out.forward, mlp.activation,
            d_head=block.cfg.d_head, scale=1.0 / block.cfg.attn_scale,
        )  # fmt: skip

    def after(
        self, stream: Float[Tensor, "batch 1 d_model"], angles: RotaryAngles, mask: Tensor | None, past: KeysValues
    ) -> Float[Tensor, "batch 1 d_model"]:
        """The stream after this layer."""
        normed = self.ln1(stream)
        by_head = (normed.shape[0], 1, -1, self.d_head)
        q_and_k = torch.cat((self.q(normed), self.k(normed)), dim=-1).view(by_head)  # turned at once
        v = self.v(normed).view(by_head)
        q, k = rotated(q_and_k, angles).tensor_split((-v.shape[2],), dim=2)
        keys, values = past.extended(k.transpose(1, 2), v.transpose(1, 2))
        z = fused_attention(q.transpose(1, 2), keys, values, mask, False, self.scale)
        stream = stream + self.o(z.flatten(2))
        normed = self.ln2(stream)
        return stream + self.mlp_out(self.activation(self.gate(normed)) * self.mlp_in(normed))


def _linears(model: Any) -> list[nn.Module]:
    """What must be on one device for a pass that moves nothing."""
    mlps = [linear for block in model.blocks for linear in (block.attn.q_proj, block.mlp.mlp_out)]
    return [model.embed.embedding, model.unembed.linear, *mlps]


def _modules_of_steps(model: Any) -> list[nn.Module]:
    """The decoder's modules, without those that only a prompt's pass goes through."""
    behind_prompt = {id(one) for name in ("vision", "projector") if name in model._modules
                     for one in model._modules[name].modules()}  # fmt: skip
    return [one for one in model.modules() if one is not model and id(one) not in behind_prompt]

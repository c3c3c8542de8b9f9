"""A LLaVA written out step by step from the checkpoint's weights: what the hooked model is held against.

Nothing here comes from `vlm_lens`. `visit(name, value)` is called at every activation that has a hook, under the hook's
name, and its result is used in place of the value: a recorder, or a write.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Visit = Callable[[str, Tensor], Tensor]


class WrittenOut:
    """The whole model as plain tensor arithmetic.

    Args:
        checkpoint: a LLaVA with a CLIP tower and a decoder of the LLaMA kind.
        visit: sees, and may replace, every activation.
        splits_inputs: whether every head reads its own copy of the stream (`hook_q_input` and the like) in place of
            the one normed stream (`ln1.hook_scale`, `ln1.hook_normalized`).
    """

    def __init__(self, checkpoint: Any, visit: Visit, splits_inputs: bool = False) -> None:
        self.hf, self.visit, self.splits_inputs = checkpoint, visit, splits_inputs

    def logits(self, mapping: Any) -> Tensor:
        """The logits of a mapping with `input_ids`, `attention_mask` and `pixel_values`."""
        tokens, is_real = mapping["input_ids"], mapping["attention_mask"].bool()
        stream = self.hf.model.language_model.embed_tokens(tokens).clone()
        stream[tokens == self.hf.config.image_token_id] = self._image_vectors(mapping["pixel_values"]).flatten(0, 1)
        decoder, config = self.hf.model.language_model, self.hf.config.text_config
        stream = self.visit("hook_embed", stream)
        allowed = self._causal(is_real, getattr(config, "sliding_window", None))
        angles = self._angles(is_real, config)
        for layer, block in enumerate(decoder.layers):
            parts = {
                "ln1": block.input_layernorm,
                "ln2": block.post_attention_layernorm,
                "attention": block.self_attn,
                "o": block.self_attn.o_proj,
                "mlp": block.mlp,
            }
            stream = self._block(f"blocks.{layer}", parts, stream, allowed, config, angles)
        normed = self.visit("unembed.hook_in", self._norm("ln_final", decoder.norm, stream))
        return self.visit("unembed.hook_out", normed @ self.hf.lm_head.weight.T)

    def _image_vectors(self, pixels: Tensor) -> Tensor:
        tower, config = self.hf.model.vision_tower, self.hf.config.vision_config
        kernel, size = tower.embeddings.patch_embedding.weight, config.patch_size
        n_rows = config.image_size // size
        patches = [
            torch.einsum("bcyx,dcyx->bd", pixels[:, :, r * size : (r + 1) * size, c * size : (c + 1) * size], kernel)
            for r in range(n_rows)
            for c in range(n_rows)
        ]
        embedded = self.visit("vision.hook_patch_embed", torch.stack(patches, dim=1))
        class_token = tower.embeddings.class_embedding.expand(len(pixels), 1, -1)
        stream = torch.cat((class_token, embedded), dim=1) + tower.embeddings.position_embedding.weight
        stream = self.visit("vision.hook_embed", self._norm("vision.ln_pre", tower.pre_layrnorm, stream))
        allowed = torch.ones(len(pixels), 1, stream.shape[1], stream.shape[1], dtype=torch.bool)
        states = [stream]
        for layer, block in enumerate(tower.encoder.layers):
            parts = {
                "ln1": block.layer_norm1,
                "ln2": block.layer_norm2,
                "attention": block.self_attn,
                "o": block.self_attn.out_proj,
                "mlp": block.mlp,
            }
            states.append(self._block(f"vision.blocks.{layer}", parts, states[-1], allowed, config, None))
        self._norm("vision.ln_final", tower.post_layernorm, states[-1])
        features = self.visit("projector.hook_in", states[self.hf.config.vision_feature_layer][:, 1:])
        projector = self.hf.model.multi_modal_projector
        pre = self.visit("projector.hook_pre", features @ projector.linear_1.weight.T + projector.linear_1.bias)
        post = self.visit("projector.hook_post", torch.nn.functional.gelu(pre))
        return self.visit("projector.hook_out", post @ projector.linear_2.weight.T + projector.linear_2.bias)

    def _block(
        self, name: str, parts: dict[str, Any], stream: Tensor, allowed: Tensor, config: Any, angles: Any
    ) -> Tensor:
        stream = self.visit(f"{name}.hook_resid_pre", stream)
        normed = None if self.splits_inputs else self._norm(f"{name}.ln1", parts["ln1"], stream)
        attn_out = self._attention(name, parts, stream, normed, allowed, config, angles)
        stream = stream + self.visit(f"{name}.hook_attn_out", attn_out)
        stream = self.visit(f"{name}.hook_resid_mid", stream)
        normed = self._norm(f"{name}.ln2", parts["ln2"], self.visit(f"{name}.hook_mlp_in", stream))
        mlp_out = self.visit(f"{name}.hook_mlp_out", self._mlp(f"{name}.mlp", parts["mlp"], normed))
        return self.visit(f"{name}.hook_resid_post", stream + mlp_out)

    def _norm(self, name: str, module: Any, x: Tensor, is_seen: bool = True) -> Tensor:
        is_layer_norm = isinstance(module, torch.nn.LayerNorm)
        eps = module.eps if is_layer_norm else module.variance_epsilon
        centred = x - x.mean(dim=-1, keepdim=True) if is_layer_norm else x
        scale = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        scale = self.visit(f"{name}.hook_scale", scale) if is_seen else scale
        normalized = centred / scale
        normalized = self.visit(f"{name}.hook_normalized", normalized) if is_seen else normalized
        return normalized * module.weight + module.bias if is_layer_norm else normalized * module.weight

    def _attention(
        self,
        name: str,
        parts: dict[str, Any],
        stream: Tensor,
        normed: Tensor | None,
        allowed: Tensor,
        config: Any,
        angles: Any,
    ) -> Tensor:
        module = parts["attention"]
        n_heads = config.num_attention_heads
        n_kv = getattr(config, "num_key_value_heads", None) or n_heads
        heads = {}
        shared = None
        if normed is None and n_kv == n_heads:
            copies = torch.stack([stream] * n_heads, dim=2)
            shared = self.visit(f"{name}.hook_attn_in", copies)
        for kind, linear, count in (
            ("q", module.q_proj, n_heads),
            ("k", module.k_proj, n_kv),
            ("v", module.v_proj, n_kv),
        ):
            d_head = linear.weight.shape[0] // count
            if normed is None:
                copies = torch.stack([stream] * count, dim=2) if shared is None else shared
                own = self._norm("", parts["ln1"], self.visit(f"{name}.hook_{kind}_input", copies), is_seen=False)
            outputs = []
            for head in range(count):
                rows = slice(head * d_head, (head + 1) * d_head)
                read = own[:, :, head] if normed is None else normed
                output = read @ linear.weight[rows].T
                outputs.append(output if linear.bias is None else output + linear.bias[rows])
            heads[kind] = self.visit(f"{name}.attn.hook_{kind}", torch.stack(outputs, dim=2))
        q, k, v = heads["q"], heads["k"], heads["v"]
        if angles is not None:
            q = self.visit(f"{name}.attn.hook_rot_q", self._rotated(q, *angles))
            k = self.visit(f"{name}.attn.hook_rot_k", self._rotated(k, *angles))
        allowed = self.visit(f"{name}.attn.hook_mask", allowed) & allowed
        group = n_heads // n_kv
        scores = torch.stack(
            [q[:, :, head] @ k[:, :, head // group].transpose(1, 2) / q.shape[-1] ** 0.5 for head in range(n_heads)],
            dim=1,
        )
        scores = self.visit(f"{name}.attn.hook_attn_scores", scores.masked_fill(~allowed, -torch.inf))
        is_empty = (scores == -torch.inf).all(dim=-1, keepdim=True)
        pattern = torch.softmax(scores.masked_fill(is_empty, 0.0), dim=-1).masked_fill(is_empty, 0.0)
        pattern = self.visit(f"{name}.attn.hook_pattern", pattern)
        z = torch.stack([pattern[:, head] @ v[:, :, head // group] for head in range(n_heads)], dim=2)
        z = self.visit(f"{name}.attn.hook_z", z)
        d_head = z.shape[-1]
        result = torch.stack(
            [z[:, :, head] @ parts["o"].weight[:, head * d_head : (head + 1) * d_head].T for head in range(n_heads)],
            dim=2,
        )
        total = self.visit(f"{name}.attn.hook_result", result).sum(dim=2)
        return total if parts["o"].bias is None else total + parts["o"].bias

    def _mlp(self, name: str, module: Any, normed: Tensor) -> Tensor:
        if hasattr(module, "gate_proj"):
            pre = self.visit(f"{name}.hook_pre", normed @ module.gate_proj.weight.T)
            linear = self.visit(f"{name}.hook_pre_linear", normed @ module.up_proj.weight.T)
            post = self.visit(f"{name}.hook_post", pre * torch.sigmoid(pre) * linear)
            return post @ module.down_proj.weight.T
        pre = self.visit(f"{name}.hook_pre", normed @ module.fc1.weight.T + module.fc1.bias)
        post = self.visit(f"{name}.hook_post", pre * torch.sigmoid(1.702 * pre))
        return post @ module.fc2.weight.T + module.fc2.bias

    @staticmethod
    def _causal(is_real: Tensor, window: int | None) -> Tensor:
        """Who may attend to whom, position by position."""
        batch, n = is_real.shape
        allowed = torch.zeros(batch, 1, n, n, dtype=torch.bool)
        for row in range(batch):
            for query in range(n):
                first = 0 if window is None else max(0, query - window + 1)
                for key in range(first, query + 1):
                    allowed[row, 0, query, key] = is_real[row, query] and is_real[row, key]
        return allowed

    @staticmethod
    def _angles(is_real: Tensor, config: Any) -> tuple[Tensor, Tensor]:
        """Cosine and sine for each position counted from the first real token."""
        positions = (is_real.long().cumsum(dim=1) - 1).clamp(min=0).float()
        d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, d_head, 2).float() / d_head)
        angles = positions[:, :, None] * frequencies
        return angles.cos()[:, :, None], angles.sin()[:, :, None]

    @staticmethod
    def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = heads.shape[-1] // 2
        first, second = heads[..., :half], heads[..., half:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def distance(ours: Tensor, reference: Tensor) -> float:
    """The largest difference, in units of the reference's largest value; infinities must stand in the same places."""
    is_finite = torch.isfinite(reference)
    assert torch.equal(is_finite, torch.isfinite(ours))
    ours, reference = ours[is_finite].detach().double(), reference[is_finite].detach().double()
    return float((ours - reference).abs().max() / reference.abs().max().clamp(min=1e-12))

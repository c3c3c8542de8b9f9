"""Decoders of the LLaMA kind: Llama (Vicuna, TinyLlama, Phi-3-as-Llama), Mistral, Qwen2."""

from typing import Any

from torch import nn
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.parts import BlockParts, TransformerParts

CLASSES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM)
MODEL_TYPES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def adapted(model: nn.Module) -> tuple[TransformerConfig, TransformerParts]:
    """The config and the modules of a decoder with its unembedding."""
    hf: Any = model
    return config_of(hf.config), parts_of(hf.model, hf.lm_head)


def config_of(hf: Any) -> TransformerConfig:
    """TransformerLens's fields from the checkpoint's text config."""
    d_head = getattr(hf, "head_dim", None) or hf.hidden_size // hf.num_attention_heads
    n_kv = hf.num_key_value_heads
    rope = hf.rope_parameters
    return TransformerConfig(
        d_model=hf.hidden_size,
        d_head=d_head,
        n_layers=hf.num_hidden_layers,
        n_ctx=_n_ctx(hf),
        n_heads=hf.num_attention_heads,
        n_key_value_heads=None if n_kv == hf.num_attention_heads else n_kv,
        d_mlp=hf.intermediate_size,
        d_vocab=hf.vocab_size,
        device="cpu",
        positional_embedding_type="rotary",
        rotary_dim=int(d_head * rope.get("partial_rotary_factor", 1.0)),
        rotary_base=rope["rope_theta"],
        gated_mlp=True,
        uses_rms_norm=True,
        final_rms=True,
        normalization_type="RMS",
        eps=hf.rms_norm_eps,
        act_fn=hf.hidden_act,
        attn_scale=d_head**0.5,
        window_sizes=_window_sizes(hf),
        original_architecture=MODEL_TYPES[hf.model_type],
    )


def _n_ctx(hf: Any) -> int:
    """The longest sequence.

    Linearly and dynamically scaled rotary positions reach `factor` times as far as `max_position_embeddings` says:
    for these two kinds `transformers` keeps the length before scaling there, for all others (yarn, llama3) the length
    after.
    """
    rope = hf.rope_parameters
    factor = rope["factor"] if rope.get("rope_type") in ("linear", "dynamic") else 1
    return int(hf.max_position_embeddings * factor)


def _window_sizes(hf: Any) -> tuple[int | None, ...]:
    """Each layer's sliding window. Qwen2 says it layer by layer, Mistral once for all, Llama has none."""
    window = getattr(hf, "sliding_window", None)
    layer_types = getattr(hf, "layer_types", None) or ["sliding_attention"] * hf.num_hidden_layers
    return tuple(window if kind == "sliding_attention" else None for kind in layer_types)


def parts_of(decoder: Any, lm_head: nn.Module) -> TransformerParts:
    """The checkpoint's modules, under what they are for."""
    return TransformerParts(
        blocks=tuple(_block(layer) for layer in decoder.layers),
        ln_final=decoder.norm,
        tokens=decoder.embed_tokens,
        unembed=lm_head,
        rotary=decoder.rotary_emb,
    )


def _block(layer: Any) -> BlockParts:
    attention, mlp = layer.self_attn, layer.mlp
    return BlockParts(
        ln1=layer.input_layernorm,
        ln2=layer.post_attention_layernorm,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        o=attention.o_proj,
        mlp_in=mlp.up_proj,
        mlp_gate=mlp.gate_proj,
        mlp_out=mlp.down_proj,
        activation=mlp.act_fn,
    )

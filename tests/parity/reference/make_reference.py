"""Make the TransformerLens 3.9 reference values that `test_transformer_lens_reference.py` reads.

TransformerLens 4 removed the class whose hook names, shapes and meanings `vlm_lens` keeps, so its
values are recorded once, in an environment of their own, and the tests never import it:

    python3.11 -m venv venv39
    venv39/bin/pip install torch==2.13.0 transformers==5.23.0 transformer-lens==3.9.0
    venv39/bin/python tests/parity/reference/make_reference.py

One `<family>.npz` is written beside this file for each of the families below. It holds:

    about                what made it: versions, the config of the checkpoint (JSON)
    order                hook names in the order in which they first fire in the plain pass (JSON)
    weights/<name>       the checkpoint's state dict, under the names of `transformers`
    embeddings           float32 [batch, pos, d_model], the merged embeddings the blocks start from
    logits               float32 [batch, pos, d_vocab]
    plain/<hook name>    every activation, `hook_result` and `hook_mlp_in` included
    split/<hook name>    those that exist, or change shape, once the attention's inputs are split
                         (`hook_attn_in` without grouped queries, `hook_q_input`, ...; the first norm
                         then has a head axis)
    padded/<hook name>   what padding touches, with the first positions padding (two families)
    padded_logits        the logits of that pass

No weight processing: nothing is folded or centred, the weights are the checkpoint's own. They and
the embeddings are rounded to values that bfloat16 can hold, which halves the files. Norm weights,
biases, eps and rotary bases are far from their defaults, so that none can be left out unseen.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import (
    convert_llama_weights,
    convert_mistral_weights,
    convert_qwen2_weights,
)

SEED = 39
N_BATCH, N_POSITIONS = 1, 12
N_PADDING = 4
PADDED_FAMILIES = ("llama", "mistral")
TOUCHED_BY_PADDING = ("hook_rot_q", "hook_rot_k", "hook_attn_scores", "hook_pattern", "hook_z")
TOLERANCE = 1e-5
FOLDER = Path(__file__).parent

SIZES: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=96,
    max_position_embeddings=64,
    hidden_act="silu",
    tie_word_embeddings=False,
)


@dataclass(frozen=True)
class Family:
    """A tiny checkpoint: its `transformers` class and config, and TransformerLens's converter."""

    architecture: str
    config: dict[str, Any]
    convert: Callable[..., dict[str, Tensor]]


def rotary(base: float) -> dict[str, Any]:
    """Plain rotary positions of the given base, as a `transformers` 5 config says it."""
    return {"rope_type": "default", "rope_theta": base}


FAMILIES = {
    "llama": Family(
        "LlamaForCausalLM",
        SIZES | dict(rms_norm_eps=1e-2, rope_parameters=rotary(500.0)),
        convert_llama_weights,
    ),
    "llama_multi_head": Family(  # no grouped queries, heads wider than d_model / n_heads
        "LlamaForCausalLM",
        SIZES
        | dict(
            num_key_value_heads=4,
            head_dim=12,
            rms_norm_eps=1e-5,
            rope_parameters=rotary(10_000.0),
        ),
        convert_llama_weights,
    ),
    "mistral": Family(  # a window shorter than the sequence
        "MistralForCausalLM",
        SIZES | dict(sliding_window=5, rms_norm_eps=1e-3, rope_parameters=rotary(1000.0)),
        convert_mistral_weights,
    ),
    "qwen2": Family(  # biased q, k, v
        "Qwen2ForCausalLM",
        SIZES | dict(rms_norm_eps=1e-3, rope_parameters=rotary(2000.0)),
        convert_qwen2_weights,
    ),
}


def round_to_bfloat16(tensor: Tensor) -> Tensor:
    """The nearest values that bfloat16 holds, still in float32."""
    return tensor.to(torch.bfloat16).to(torch.float32)


def build_checkpoint(family: Family) -> transformers.PreTrainedModel:
    """A float32 checkpoint with random weights, no parameter left at its default."""
    model_class = getattr(transformers, family.architecture)
    model = model_class(model_class.config_class(**family.config)).float().eval()
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                value = 1.0 + 0.3 * noise
            elif name.endswith("bias"):
                value = 0.5 * noise
            else:
                value = noise * parameter.shape[-1] ** -0.5
            parameter.copy_(round_to_bfloat16(value))
    return model


def build_hooked(family: Family, checkpoint: transformers.PreTrainedModel) -> HookedTransformer:
    """TransformerLens 3.9's model around the checkpoint's weights, unprocessed."""
    config = checkpoint.config
    d_head = family.config.get("head_dim", config.hidden_size // config.num_attention_heads)
    is_grouped = config.num_key_value_heads != config.num_attention_heads
    window = family.config.get("sliding_window")
    cfg = HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_ctx=config.max_position_embeddings,
        d_head=d_head,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads if is_grouped else None,
        d_mlp=config.intermediate_size,
        d_vocab=config.vocab_size,
        act_fn=config.hidden_act,
        eps=config.rms_norm_eps,
        normalization_type="RMS",
        final_rms=True,
        gated_mlp=True,
        positional_embedding_type="rotary",
        rotary_dim=d_head,
        rotary_base=config.rope_parameters["rope_theta"],
        rotary_adjacent_pairs=False,
        use_local_attn=window is not None,
        window_size=window,
        attn_types=None if window is None else ["local"] * config.num_hidden_layers,
        original_architecture=family.architecture,
        init_weights=False,
        device="cpu",
        dtype=torch.float32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the class announces its own end
        model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        family.convert(checkpoint, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return model.eval()


def check_logits(
    checkpoint: transformers.PreTrainedModel, embeddings: Tensor, ours: Tensor, n_padding: int = 0
) -> None:
    """Raise unless TransformerLens's logits are the checkpoint's own, without the padding."""
    theirs = checkpoint(inputs_embeds=embeddings[:, n_padding:]).logits
    difference = (theirs - ours[:, n_padding:]).abs().max().item()
    if difference > TOLERANCE:
        raise RuntimeError(
            f"Logits differ from transformers: expected <= {TOLERANCE}, got {difference}. "
            "The TransformerLens config does not describe this checkpoint."
        )


def record_padded(
    checkpoint: transformers.PreTrainedModel, model: HookedTransformer, embeddings: Tensor
) -> dict[str, Tensor]:
    """What padding touches, and the logits, with the first positions of the sequence padding."""
    attention_mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    attention_mask[:, :N_PADDING] = 0
    logits, activations = model.run_with_cache(
        embeddings,
        start_at_layer=0,
        attention_mask=attention_mask,
        names_filter=lambda name: name.endswith(TOUCHED_BY_PADDING),
        return_cache_object=False,
    )
    check_logits(checkpoint, embeddings, logits, N_PADDING)
    padded = {f"padded/{name}": value for name, value in activations.items()}
    return padded | {"padded_logits": logits}


def record(family: Family, is_padded: bool) -> dict[str, np.ndarray]:
    """Everything the file of one family holds."""
    checkpoint = build_checkpoint(family)
    model = build_hooked(family, checkpoint)
    generator = torch.Generator().manual_seed(SEED + 1)
    embeddings = round_to_bfloat16(torch.randn(N_BATCH, N_POSITIONS, model.cfg.d_model, generator=generator))

    model.set_use_attn_result(True)
    model.set_use_hook_mlp_in(True)
    logits, plain = model.run_with_cache(embeddings, start_at_layer=0, return_cache_object=False)
    check_logits(checkpoint, embeddings, logits)
    padded = record_padded(checkpoint, model, embeddings) if is_padded else {}

    if model.cfg.n_key_value_heads is None:  # TransformerLens has hook_attn_in only then
        model.set_use_attn_in(True)
        _, with_attn_in = model.run_with_cache(embeddings, start_at_layer=0, return_cache_object=False)
        model.set_use_attn_in(False)
    else:
        with_attn_in = {}
    model.set_use_split_qkv_input(True)
    split_logits, split = model.run_with_cache(embeddings, start_at_layer=0, return_cache_object=False)
    check_logits(checkpoint, embeddings, split_logits)
    split |= {name: value for name, value in with_attn_in.items() if name not in split}
    reshaped = {name: value for name, value in split.items() if name not in plain or value.shape != plain[name].shape}

    about = {
        "made_by": "tests/parity/reference/make_reference.py",
        "transformer_lens": version("transformer-lens"),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "architecture": family.architecture,
        "config": family.config,
        "n_padding": N_PADDING,
    }
    tensors = {f"weights/{name}": value for name, value in checkpoint.state_dict().items()}
    tensors |= {"embeddings": embeddings, "logits": logits}
    tensors |= {f"plain/{name}": value for name, value in plain.items()}
    tensors |= {f"split/{name}": value for name, value in reshaped.items()}
    tensors |= padded
    arrays = {name: value.numpy() for name, value in tensors.items()}
    arrays["about"] = np.array(json.dumps(about))
    arrays["order"] = np.array(json.dumps(list(plain)))
    return arrays


def main() -> None:
    """Write one file a family beside this script."""
    torch.set_grad_enabled(False)
    for name, family in FAMILIES.items():
        np.savez_compressed(FOLDER / f"{name}.npz", **record(family, name in PADDED_FAMILIES))


if __name__ == "__main__":
    main()

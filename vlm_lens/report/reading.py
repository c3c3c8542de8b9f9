"""One clean run, read as it passes: residual streams and the last position's attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Reading:
    """What a report keeps of a run; whole patterns and streams are never held together.

    Attributes:
        logits: of the last position, in fp32.
        streams: at the positions asked for, after the embedding and after every layer.
        attention: from the last position to each position, mean over heads.
    """

    logits: Float[Tensor, "d_vocab"]
    streams: tuple[Float[Tensor, "pos d_model"], ...]
    attention: Float[Tensor, "layer key_pos"]


def read_run(vlm: HookedVLM, inputs: Inputs, positions: Sequence[int]) -> Reading:
    """Runs the model once and keeps the streams at some positions of the first row.

    Args:
        vlm: the model.
        inputs: one row.
        positions: where to keep the residual stream.
    """
    n_layers = vlm.cfg.n_layers
    streams: dict[str, Tensor] = {}
    attention: dict[str, Tensor] = {}
    kept = torch.as_tensor(list(positions))

    def keep_stream(stream: Float[Tensor, "batch pos d_model"], hook: torch.nn.Module) -> None:
        streams[str(hook.name)] = stream[0, kept.to(stream.device)].detach().clone()

    def keep_attention(pattern: Float[Tensor, "batch head_index query_pos key_pos"], hook: torch.nn.Module) -> None:
        last = pattern[0, :, -1].detach().float()
        attention[str(hook.name)] = reduce(last, "head_index key_pos -> key_pos", "mean").cpu()

    stream_names = stream_hooks(n_layers)
    pattern_names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(n_layers)]
    with torch.inference_mode():
        logits = vlm.run_with_hooks(
            inputs,
            fwd_hooks=[
                *((name, keep_stream) for name in stream_names),
                *((name, keep_attention) for name in pattern_names),
            ],
        )
    return Reading(
        logits[0, -1].float().cpu(),
        tuple(streams[name] for name in stream_names),
        torch.stack([attention[name] for name in pattern_names]),
    )


def stream_hooks(n_layers: int) -> list[str]:
    """The hook of each residual stream: what enters the first block, and what leaves each."""
    return ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(n_layers))]


def lens_probabilities(vlm: HookedVLM, stream: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos d_vocab"]:
    """The logit lens: a stream through the model's own final norm and unembedding, as probabilities.

    The last stream's lens is the model's own next-token distribution. Source: nostalgebraist, "interpreting
    GPT: the logit lens", 2020.
    """
    with torch.inference_mode():
        normalized = vlm.ln_final(stream.unsqueeze(0).to(vlm.ln_final.w.device))
        return vlm.unembed(normalized)[0].float().softmax(dim=-1).cpu()

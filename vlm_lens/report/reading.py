"""One clean run, read as it passes: the residual streams of some positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Reading:
    """What a report keeps of a run.

    Attributes:
        logits: of the last position, in fp32.
        streams: at the positions asked for, after the embedding and after every layer.
    """

    logits: Float[Tensor, "d_vocab"]
    streams: tuple[Float[Tensor, "pos d_model"], ...]


def read_run(vlm: HookedVLM, inputs: Inputs, positions: Sequence[int]) -> Reading:
    """Runs the model once and keeps the streams at some positions of the first row.

    Args:
        vlm: the model.
        inputs: one row.
        positions: where to keep the residual stream.
    """
    streams: dict[str, Tensor] = {}
    kept = torch.as_tensor(list(positions))

    def keep_stream(stream: Float[Tensor, "batch pos d_model"], hook: torch.nn.Module) -> None:
        streams[str(hook.name)] = stream[0, kept.to(stream.device)].detach().clone()

    stream_names = stream_hooks(vlm.cfg.n_layers)
    with torch.inference_mode():
        logits = vlm.run_with_hooks(inputs, fwd_hooks=[(name, keep_stream) for name in stream_names])
    return Reading(logits[0, -1].float().cpu(), tuple(streams[name] for name in stream_names))


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

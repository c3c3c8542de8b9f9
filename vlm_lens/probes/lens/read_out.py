"""From a state of the residual stream to logits: words for a decoder, candidate texts for CLIP's vision tower."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.model.candidates import Candidates
from vlm_lens.model.linear import device_of, is_plain
from vlm_lens.model.transformer import HookedTransformer


@runtime_checkable
class ReadOut(Protocol):
    """What a state says, as logits over some outputs."""

    @property
    def n_outputs(self) -> int:
        """How many outputs there are."""
        ...

    def logits(self, states: Float[Tensor, "place d_model"], memory: int) -> Float[Tensor, "place output"]:
        """The logits in fp32, a tensor of the caller's own; `memory` bounds what is held besides, in bytes."""
        ...


@dataclass(frozen=True, eq=False)
class VocabularyReadOut:
    """A decoder's own final norm and unembedding, as modules of the checkpoint: no hook is called.

    The logits of a linear in half precision are fp32 sums that are not rounded to 8 bits, which would tie thousands of
    them. On CUDA the product writes them as they are; elsewhere some rows of the vocabulary at a time pass through
    fp32. No fp32 copy of the weights is held. A quantised or wrapped linear is called as it is.

    Attributes:
        norm: the final norm.
        linear: the unembedding.
        n_outputs: the vocabulary.
    """

    norm: nn.Module
    linear: nn.Module
    n_outputs: int

    @classmethod
    def of(cls, tower: HookedTransformer) -> "VocabularyReadOut":
        """The read-out of a tower that has an unembedding."""
        return cls(tower.ln_final.norm, tower.unembed.linear, tower.unembed.d_vocab)

    def logits(self, states: Float[Tensor, "place d_model"], memory: int) -> Float[Tensor, "place output"]:
        """The logits of the next token."""
        normed = self.norm(states.to(device=device_of(self.norm)))
        normed = normed.to(device=device_of(self.linear))
        if is_plain(self.linear) and self.linear.weight.dtype in (torch.float16, torch.bfloat16):
            return _summed_in_fp32(normed, self.linear, memory)
        return self.linear(normed).float()


@dataclass(frozen=True, eq=False)
class CandidateReadOut:
    """CLIP's post-norm and projection, then the cosine to each candidate over the learned temperature.

    Attributes:
        norm: the vision tower's post-norm.
        projection: into the space that pictures and texts share.
        scale: the reciprocal of the temperature.
        texts: the candidates' vectors, of length 1, in fp32.
    """

    norm: nn.Module
    projection: nn.Module
    scale: Float[Tensor, ""]
    texts: Float[Tensor, "candidate d_embed"]

    @classmethod
    def of(cls, clip: Any, candidates: Candidates) -> "CandidateReadOut":
        """The read-out of a CLIP model's vision tower.

        Args:
            clip: a `TwoTowers`.
            candidates: what to compare with.
        """
        scale = clip.logit_scale.detach().exp().float()
        texts = functional.normalize(candidates.vectors.to(scale.device).float(), dim=-1)
        return cls(clip.vision.ln_final.norm, clip.visual_projection, scale, texts)

    @property
    def n_outputs(self) -> int:
        """The candidates."""
        return len(self.texts)

    def logits(self, states: Float[Tensor, "place d_model"], memory: int) -> Float[Tensor, "place output"]:
        """The similarity to each candidate."""
        vectors = self.projection(self.norm(states.to(device=device_of(self.norm))))
        vectors = functional.normalize(vectors.float(), dim=-1).to(self.texts.device)
        return vectors @ self.texts.T * self.scale


PIECE = 8 * 2**20
"""Bytes of weights in fp32 at once, small enough for a cache."""


def _summed_in_fp32(normed: Float[Tensor, "place d_model"], linear: Any, memory: int) -> Float[Tensor, "place output"]:
    """The logits of a half-precision linear, in fp32."""
    if _writes_fp32(normed.device) and normed.dtype == linear.weight.dtype:
        logits = multiplied(normed, linear.weight)
    else:
        logits = _multiplied_in_pieces(normed, linear.weight, memory)
    return logits if linear.bias is None else logits.add_(linear.bias.float())


def _writes_fp32(device: torch.device) -> bool:
    """Whether a product of half-precision matrices can be had in fp32: on CUDA, since torch 2.8."""
    return device.type == "cuda" and torch.version.hip is None and hasattr(torch.ops.aten.mm, "dtype")


def multiplied(
    normed: Float[Tensor, "place d_model"], weight: Float[Tensor, "output d_model"]
) -> Float[Tensor, "place output"]:
    """One product of half-precision weights as they are, in fp32; CUDA has it."""
    return torch.mm(normed, weight.T, out_dtype=torch.float32)


def _multiplied_in_pieces(
    normed: Float[Tensor, "place d_model"], weight: Float[Tensor, "output d_model"], memory: int
) -> Float[Tensor, "place output"]:
    """Some rows of the weights after the other, each in fp32 as it is needed."""
    n_outputs, d_model = weight.shape
    n_at_once = max(1, min(memory // 4, PIECE) // (4 * d_model))
    states = normed.float()
    logits = states.new_empty((len(states), n_outputs))
    for start in range(0, n_outputs, n_at_once):
        piece = slice(start, start + n_at_once)
        logits[:, piece] = states @ weight[piece].float().T
    return logits

"""The two losses of the contrastive stage: what each patch shows, and which captions are true.

The patch loss stands on the hidden state that LLaVA reads. It teaches the tower what it looks at long before the
contrastive loss alone would.
"""

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from vlm_lens.demo.architecture import FEATURE_LAYER
from vlm_lens.demo.training.pictures import LABEL_SIZES
from vlm_lens.hooked_clip import HookedCLIP

LARGEST_LOGIT_SCALE = math.log(100.0)
"""CLIP's own limit of the temperature."""


class PatchReader(nn.Module):
    """Linear read-outs of kind, colour and part from the patches' hidden state; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(LABEL_SIZES))

    def forward(
        self,
        hidden: Float[Tensor, "batch patch d_vision"],
        shares: UInt8[Tensor, "batch patch label"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy against the share of each label in each patch, averaged over the three tables."""
        scores = self.read(self.norm(hidden)).float().split(LABEL_SIZES, dim=-1)
        targets = (shares.float() / 255).split(LABEL_SIZES, dim=-1)
        losses = [
            -(target * table.log_softmax(-1)).sum(-1).mean() for table, target in zip(scores, targets, strict=True)
        ]
        return torch.stack(losses).mean()


def tower_states(
    clip: HookedCLIP, pixel_values: Float[Tensor, "batch channel height width"]
) -> tuple[Float[Tensor, "batch patch d_vision"], Float[Tensor, "batch d_embed"]]:
    """The patches' hidden state at LLaVA's layer, and the picture's projected, unnormalised embedding."""
    tower = clip.vision
    depth = range(tower.cfg.n_layers + 1)[FEATURE_LAYER]
    stream = tower(pixel_values, stop_at_layer=depth)
    last = tower(stream, start_at_layer=depth, stop_at_layer=tower.cfg.n_layers)
    return stream[:, 1:], clip.visual_projection(tower.ln_final(last[:, 0]))


def multi_positive_loss(
    pictures: Float[Tensor, "batch d_embed"],
    captions: Float[Tensor, "caption d_embed"],
    is_true: Bool[Tensor, "batch caption"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """InfoNCE in which every true caption of a picture, and every picture a caption is true of, is a positive.

    Each row's target is uniform over its positives; the mean of both directions.
    """
    pictures = functional.normalize(pictures.float(), dim=-1)
    captions = functional.normalize(captions.float(), dim=-1)
    logits = logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp() * pictures @ captions.T
    return (_spread_entropy(logits, is_true) + _spread_entropy(logits.T, is_true.T)) / 2


def _spread_entropy(logits: Float[Tensor, "row column"], is_true: Bool[Tensor, "row column"]) -> Float[Tensor, ""]:
    target = is_true.float()
    n_true = target.sum(-1)
    losses = -(target * logits.log_softmax(-1)).sum(-1) / n_true.clamp(min=1)
    return losses.sum() / (n_true > 0).sum().clamp(min=1)

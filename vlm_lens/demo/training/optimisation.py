"""The optimiser, its rate, and the moving average of the weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vlm_lens.demo.training.recipe import StageRecipe

WEIGHT_DECAY = 0.05
LARGEST_GRADIENT = 1.0
LAST_SHARE_OF_RATE = 0.05


def trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters that a stage changes, each once, in a fixed order."""
    parameters = (p for module in modules for p in module.parameters() if p.requires_grad)
    return list(dict.fromkeys(parameters))


def new_optimiser(parameters: list[nn.Parameter]) -> AdamW:
    """AdamW that decays matrices only."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98), lr=0.0)


def rate_at(step: int, recipe: StageRecipe) -> float:
    """Learning rate of a step: up in a line, then down on a cosine."""
    if step < recipe.n_warmup:
        return recipe.peak_rate * (step + 1) / recipe.n_warmup
    n_schedule = recipe.n_schedule or recipe.n_steps
    progress = (step - recipe.n_warmup) / max(1, n_schedule - recipe.n_warmup)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return recipe.peak_rate * (LAST_SHARE_OF_RATE + (1 - LAST_SHARE_OF_RATE) * cosine)


class MovingAverage:
    """An exponential moving average of parameters, quick to forget in the first steps."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.values: list[Tensor] = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the parameters after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def install(self) -> None:
        """Puts the average in the place of the parameters."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            parameter.copy_(value)

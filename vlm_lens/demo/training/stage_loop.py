"""The loop that every stage runs: gradients of all shards, a step, an average, now and then a checkpoint."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from vlm_lens.demo.training.optimisation import (
    LARGEST_GRADIENT,
    MovingAverage,
    new_optimiser,
    rate_at,
    trainable,
)
from vlm_lens.demo.training.recipe import StageRecipe
from vlm_lens.demo.training.workers import Worker

LOG_EVERY = 25


@runtime_checkable
class Stage(Protocol):
    """What the loop needs to know of a stage."""

    name: str
    stage: StageRecipe
    modules: tuple[nn.Module, ...]

    def loss(self, shard: int, step: int) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The loss of one shard's batch, and figures for the log."""
        ...


class Log:
    """One JSON line every few steps; figures are means since the line before."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.sums: dict[str, list[Tensor]] = {}
        self.since = time.monotonic()

    def add(self, figures: dict[str, Tensor]) -> None:
        """Takes in the figures of one batch."""
        for name, value in figures.items():
            self.sums.setdefault(name, []).append(value)

    def write(self, stage: str, step: int, rate: float, n_steps: int) -> dict[str, float]:
        """Writes the line and starts anew."""
        now = time.monotonic()
        figures = {name: round(torch.stack(values).mean().item(), 4) for name, values in self.sums.items()}
        line = {"stage": stage, "step": step, "rate": rate, **figures}
        line["seconds_a_step"] = round((now - self.since) / n_steps, 4)
        self.sums, self.since = {}, now
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return figures


def run_stage(
    stage: Stage,
    worker: Worker,
    *,
    resume: dict[str, Any] | None,
    save_every: int,
    save: Callable[[dict[str, Any]], None],
    log_path: Path | None,
    device: torch.device,
    has_progress: bool,
) -> None:
    """Runs a stage to its end and leaves the averaged weights in its modules.

    Args:
        stage: What to train.
        worker: This process.
        resume: The state that `save` was given, to go on from it.
        save_every: Steps between checkpoints.
        save: Keeps a state; called in the leading process only.
        log_path: File to add figures to, None for none.
        device: Where the modules are.
        has_progress: Whether a progress bar is shown.
    """
    recipe = stage.stage
    parameters = trainable(stage.modules)
    optimiser = new_optimiser(parameters)
    average = MovingAverage(parameters, recipe.average_decay)
    first = 0
    if resume is not None:
        first = resume["step"]
        with torch.no_grad():
            for parameter, value in zip(parameters, resume["parameters"], strict=True):
                parameter.copy_(value)
            for own, value in zip(average.values, resume["average"], strict=True):
                own.copy_(value)
        optimiser.load_state_dict(resume["optimiser"])
    log = Log(log_path if worker.leads else None)
    for module in stage.modules:
        module.train()
    steps = tqdm(
        range(first, recipe.n_steps),
        stage.name,
        initial=first,
        total=recipe.n_steps,
        disable=not (has_progress and worker.leads),
        mininterval=5,
    )
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, recipe)
        optimiser.zero_grad()
        for shard in worker.shards:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss, figures = stage.loss(shard, step)
            loss.backward()
            log.add({"loss": loss.detach(), **figures})
        worker.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        optimiser.step()
        average.update(step)
        if (step + 1) % LOG_EVERY == 0 and worker.leads:
            means = log.write(stage.name, step + 1, rate_at(step, recipe), LOG_EVERY)
            steps.set_postfix(means, refresh=False)
        if (step + 1) % save_every == 0 and step + 1 < recipe.n_steps and worker.leads:
            save(
                {
                    "step": step + 1,
                    "parameters": [p.detach() for p in parameters],
                    "average": average.values,
                    "optimiser": optimiser.state_dict(),
                }
            )
    average.install()

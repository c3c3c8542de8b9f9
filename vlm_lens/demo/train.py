"""Trains the bundled model: `python -m vlm_lens.demo.train --out DIR`.

Stopped at any moment, the same command goes on from the last checkpoint.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.multiprocessing

from vlm_lens.demo.training.export import export
from vlm_lens.demo.training.recipe import Recipe
from vlm_lens.demo.training.training_run import TrainingRun
from vlm_lens.demo.training.workers import Meeting, member, new_meeting, single_worker

LARGEST_MODEL = 6_000_000
"""Parameters that the shared gradients have room for."""

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Tells glibc to reuse the memory of large tensors instead of asking the system for it at every step."""


def train_one(recipe: Recipe, folder: Path, device: str) -> None:
    """Trains in this process alone."""
    run = TrainingRun(recipe, folder, single_worker(recipe.n_shards), torch.device(device))
    run.run()
    export(run.clip, run.llava, folder)


def _train_member(number: int, recipe: Recipe, folder: Path, meeting: Meeting) -> None:
    torch.set_num_threads(1)
    worker = member(meeting, number, recipe.n_shards)
    run = TrainingRun(recipe, folder, worker, torch.device("cpu"))
    run.run()
    if worker.leads:
        export(run.clip, run.llava, folder)


def train(recipe: Recipe, folder: Path, device: str = "cpu", n_workers: int = 1) -> None:
    """Trains and writes `vlm/` and `clip/` into the folder.

    Args:
        recipe: All numbers.
        folder: For checkpoints, the log and the models.
        device: A torch device.
        n_workers: Processes that share the work, on a CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if n_workers == 1 or device != "cpu":
        train_one(recipe, folder, device)
        return
    os.environ.update(KEEP_MEMORY)
    meeting = new_meeting(n_workers, LARGEST_MODEL)
    torch.multiprocessing.spawn(_train_member, args=(recipe, folder, meeting), nprocs=n_workers, join=True)


def main() -> None:
    """The command line."""
    has_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m vlm_lens.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and models")
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--workers", type=int, default=min(2, n_cores or 1))
    arguments = parser.parse_args()
    recipe = replace(Recipe(), seed=arguments.seed)
    train(recipe, arguments.out, arguments.device, arguments.workers)


if __name__ == "__main__":
    main()

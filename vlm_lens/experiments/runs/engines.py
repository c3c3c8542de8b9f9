"""Who runs the shards: this process, or several of one machine.

An engine is a function of a specification, the shards that are missing and the folder. It calls `run_shard` for each,
in any order, anywhere that can write to the folder, and yields how many examples each had as it ends. A distributed
engine is such a function (with Ray: `ray.remote(run_shard)` for each shard, and `ray.wait`).
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from vlm_lens.errors import InputError
from vlm_lens.experiments.runs.shard import run_shard
from vlm_lens.experiments.runs.spec import RunSpec

Engine = Callable[[RunSpec, Sequence[int], Path], Iterator[int]]
"""Runs shards; yields the number of examples of each that has ended."""


def in_turn(spec: RunSpec, shards: Sequence[int], folder: Path) -> Iterator[int]:
    """In this process, one after another."""
    for shard in shards:
        yield run_shard(spec, shard, folder)


class Workers:
    """Several processes of this machine, each with a model of its own; a GPU each where there are GPUs.

    Args:
        n: how many.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise InputError("Number of workers", "at least 1", n)
        self.n = n

    def __call__(self, spec: RunSpec, shards: Sequence[int], folder: Path) -> Iterator[int]:
        """Run the shards.

        Raises:
            InputError: a worker died, as when memory runs out; every finished shard is kept.
        """
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        for number in range(self.n):
            places.put(f"cuda:{number % torch.cuda.device_count()}" if _has_gpus(spec) else None)
        n_threads = max(1, torch.get_num_threads() // self.n)
        with ProcessPoolExecutor(self.n, context, _begin, (places, n_threads, os.getpid())) as pool:
            running = {pool.submit(_run_here, spec, shard, folder) for shard in shards}
            try:
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield one.result()
            except BrokenProcessPool as error:
                advice = "Take fewer workers if memory ran out. Finished shards are kept: run the same command again."
                raise InputError("A worker of the run", "to live until its end", "one that died", advice) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _has_gpus(spec: RunSpec) -> bool:
    return torch.cuda.is_available() and (spec.source.device or "cuda") == "cuda"


_device: str | None = None


def _begin(places: "multiprocessing.Queue[str | None]", n_threads: int, parent: int) -> None:
    global _device
    _device = places.get()
    torch.set_num_threads(n_threads)
    _end_with(parent)


def _end_with(parent: int) -> None:
    """End this process when the one that began it is gone, also when it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_here(spec: RunSpec, shard: int, folder: Path) -> int:
    return run_shard(spec, shard, folder, _device)

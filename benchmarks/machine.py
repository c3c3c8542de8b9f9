"""What a figure was measured on: machine, versions, rates."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.rounds import seconds_of
from benchmarks.sizes import Sizes

SHORT = 5e-3
PACKAGES = ("torch", "transformers", "transformer-lens", "nnsight", "pyvene", "vlm-lens")


def versions() -> dict[str, str]:
    """Of everything at the table; "not installed" where it is not."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine(device: str) -> dict[str, Any]:
    """The processor, and how busy the machine was with other things."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    found |= {"load_before": round(os.getloadavg()[0], 2), "system": platform.system()}
    if device.startswith("cuda"):
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gemm_rate(rows: int, inner: int, columns: int, sizes: Sizes, least_seconds: float = 0.05) -> float:
    """FLOPs a second of one product [rows inner] x [inner columns], as torch runs it here."""
    dtype = getattr(torch, sizes.dtype)
    left = torch.randn(rows, inner, device=sizes.device).to(dtype)
    right = torch.randn(columns, inner, device=sizes.device).to(dtype)
    return (
        2 * rows * inner * columns / best_seconds(lambda: torch.nn.functional.linear(left, right), sizes, least_seconds)
    )


def copy_rate(sizes: Sizes, n_bytes: int = 2**28) -> float:
    """Bytes a second, read and written, of a copy larger than any cache."""
    source = torch.zeros(n_bytes // 4, device=sizes.device)
    target = torch.empty_like(source)
    return 2 * n_bytes / best_seconds(lambda: target.copy_(source), sizes, 0.2)


def best_seconds(call: Callable[[], object], sizes: Sizes, least_seconds: float) -> float:
    """The median of the faster half of repeated calls: a rate the machine reaches, not one it was kept from.

    Short calls are timed several at a time, so that waiting for the device does not count as work.
    """
    call()
    n_together = max(int(SHORT / max(seconds_of(call, sizes.device), 1e-9)), 1)

    def together() -> None:
        for _ in range(n_together):
            call()

    taken: list[float] = []
    start = time.perf_counter()
    while len(taken) < 5 or time.perf_counter() - start < least_seconds:
        taken.append(seconds_of(together, sizes.device) / n_together)
    return statistics.median(faster_half(taken))


def faster_half(taken: Sequence[float]) -> list[float]:
    return sorted(taken)[: max(len(taken) // 2, 1)]

"""The most memory that a call holds beyond what was held before it."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

KIB = 1024


def peak_bytes(call: Callable[[], object], device: str) -> int | None:
    """On CUDA what the allocator handed out at most; on Linux the growth of the resident set at its peak.

    The kernel's own mark of the peak is set back just before the call, after freed memory went back to the system.
    None where a kernel does not let it be set back.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    if not _set_peak_back():
        return None
    before = _status("VmRSS")
    call()
    return max(_status("VmHWM") - before, 0)


def _set_peak_back() -> bool:
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * KIB
    raise OSError(f"{name} is not in /proc/self/status")

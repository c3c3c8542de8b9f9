"""Peak memory of a logit lens over every layer and patch of LLaVA-1.5's shape, above the weights and the stream.

    python benchmarks/lens_memory.py [--out benchmarks/results/lens-memory-cpu.json]

A synthetic stream of 33 states x 576 patches of width 4096, a random RMSNorm and a random unembedding of 32,064 words,
on the CPU. Each precision runs in a process of its own, which reads its peak resident memory before and after.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from vlm_lens.probes.lens.lens_queue import lens_statistics
from vlm_lens.probes.lens.logit_lens import LogitLens
from vlm_lens.probes.lens.read_out import VocabularyReadOut

N_STATES, N_PATCHES, D_MODEL, D_VOCAB = 33, 576, 4096, 32_064
TOP_K, N_TARGETS, N_ALIASES = 5, 4, 4
MIB = 2**20


def peak() -> float:
    """The largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(dtype: torch.dtype) -> dict[str, float]:
    """Peak memory before and after reading all states."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        norm = nn.RMSNorm(D_MODEL, eps=1e-5, dtype=dtype)
        linear = nn.Linear(D_MODEL, D_VOCAB, bias=False, dtype=dtype)
        stream = torch.empty(N_STATES, N_PATCHES, D_MODEL, dtype=dtype)
        for state in stream:  # state by state: random numbers in fp32 for all would be a peak of their own
            state.copy_(torch.randn(N_PATCHES, D_MODEL, generator=random))
        read_out = VocabularyReadOut(norm, linear, D_VOCAB)
        groups = [tuple(range(first, first + N_ALIASES)) for first in range(0, 1000 * N_TARGETS, 1000)]
        linear(norm(stream[0, :1]))  # the libraries' own buffers are no part of the lens
        before = peak()
        memory = LogitLens().memory
        kept = [lens_statistics(state, read_out, TOP_K, groups, memory) for state in stream]
    assert all(len(one.top_ids) == N_PATCHES for one in kept)
    return {
        "weights_and_stream_mib": (linear.weight.nbytes + stream.nbytes) / MIB,
        "peak_before_mib": before,
        "peak_after_mib": peak(),
        "above_mib": peak() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="measure this one in this process")
    chosen = parser.parse_args()
    if chosen.dtype:
        print(json.dumps(measured(getattr(torch, chosen.dtype))))
        return
    results = {}
    for dtype in ("float32", "bfloat16"):
        command = [sys.executable, __file__, "--dtype", dtype]
        results[dtype] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{dtype:9s} peak {results[dtype]['above_mib']:.0f} MiB above weights and stream "
            f"({results[dtype]['weights_and_stream_mib']:.0f} MiB)"
        )
    shape = {"states": N_STATES, "patches": N_PATCHES, "d_model": D_MODEL, "d_vocab": D_VOCAB, "top_k": TOP_K}
    shape |= {"targets": N_TARGETS, "aliases": N_ALIASES, "memory_mib": LogitLens().memory / MIB}
    shape |= {"threads": torch.get_num_threads()}
    if chosen.out:
        chosen.out.write_text(json.dumps({"shape": shape, "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

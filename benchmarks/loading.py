"""How much memory loading a checkpoint takes at its peak, over the bytes of the weights that are loaded.

    python benchmarks/loading.py                               # a LLaVA of some 470 MB, in processes of their own
    python benchmarks/loading.py --device cuda --d-model 2048

A LLaVA with random weights is written to a folder, then loaded by `HookedVLM.from_pretrained` and by `transformers`,
each in a fresh process and precision by precision. Counted is the memory that a process owns (RssAnon and RssShmem of
/proc, which Linux has), read by another process every millisecond, beyond what it owned just before; on CUDA what the
allocator handed out besides. Pages of the checkpoint's file are mapped, not owned: the kernel takes them back whenever
somebody needs the room. Their peak is reported beside. The bundled model is loaded first, so that the code that loads
is not counted as weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import LlavaForConditionalGeneration
from transformers.utils import logging

from benchmarks.machine import machine, versions
from benchmarks.model import random_llava
from benchmarks.sizes import Sizes
from vlm_lens import HookedVLM

RESULTS = Path(__file__).parent / "results"
TARGET = 1.10
PRECISIONS = (("float32", "float32"), ("float32", "bfloat16"), ("bfloat16", "bfloat16"))
LOADERS = ("HookedVLM", "transformers")
OWNED = ("RssAnon", "RssShmem")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--d-model", type=int, default=Sizes.d_model)
    parser.add_argument("--decoder-layers", type=int, default=Sizes.decoder_layers)
    parser.add_argument("--vocabulary", type=int, default=Sizes.vocabulary)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", nargs=4, metavar=("LOADER", "FOLDER", "DTYPE", "DEVICE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def load_when_told(loader: str, folder: str, dtype: str, device: str) -> None:
    """What a fresh process does: get ready, say so, wait for a line, load, and say what it has."""
    logging.disable_progress_bar()
    HookedVLM.demo(device=device)
    print("ready", flush=True)
    sys.stdin.readline()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    if loader == "HookedVLM":
        model: Any = HookedVLM.from_pretrained(folder, dtype=dtype, device=device)
    else:
        wanted = getattr(torch, dtype)
        model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=wanted, device_map=device)
    found = {
        "seconds": time.perf_counter() - start,
        "bytes": sum(one.numel() * one.element_size() for one in model.parameters()),
        "cuda_bytes": torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0,
    }
    print(json.dumps(found), flush=True)
    sys.stdin.readline()


def resident(pid: int, names: tuple[str, ...]) -> int:
    """Bytes of the kinds of pages that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.split(":")[0] in names)


def measured(loader: str, folder: Path, dtype: str, device: str) -> dict[str, float]:
    """One load in a fresh process, watched from here."""
    command = [sys.executable, __file__, "--load", loader, str(folder), dtype, device]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        # Told from outside: a thread of the process itself would wait while it loads.
        assert process.stdin is not None and process.stdout is not None
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                raise SystemExit(f"{loader} ended before it loaded anything")
        before, before_mapped = resident(process.pid, OWNED), resident(process.pid, ("RssFile",))
        most, most_mapped, said = before, before_mapped, Line(process.stdout)
        process.stdin.write("go\n")
        process.stdin.flush()
        while not said.is_there():
            most = max(most, resident(process.pid, OWNED))
            most_mapped = max(most_mapped, resident(process.pid, ("RssFile",)))
            time.sleep(0.001)
        after = resident(process.pid, OWNED)
        process.stdin.write("end\n")
        process.stdin.flush()
    found = said.value()
    weights = found["bytes"]
    where = found["cuda_bytes"] if device.startswith("cuda") else most - before
    return {
        "seconds": found["seconds"],
        "weights_bytes": weights,
        "peak_over_weights": where / weights,
        "owned_after_over_weights": (after - before) / weights,
        "host_peak_over_weights": (most - before) / weights,
        "mapped_peak_over_weights": (most_mapped - before_mapped) / weights,
    }


class Line:
    """A line that another process will write."""

    def __init__(self, stream: Any) -> None:
        self.text = ""
        self._reader = threading.Thread(target=lambda: setattr(self, "text", stream.readline()), daemon=True)
        self._reader.start()

    def is_there(self) -> bool:
        return not self._reader.is_alive()

    def value(self) -> dict[str, float]:
        if not self.text.strip():
            raise SystemExit("A process ended while it loaded")
        return json.loads(self.text)


def main() -> None:
    asked = parsed_arguments()
    if asked.load is not None:
        load_when_told(*asked.load)
        return
    sizes = Sizes(d_model=asked.d_model, decoder_layers=asked.decoder_layers, vocabulary=asked.vocabulary)
    logging.disable_progress_bar()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as parent:
        folders = {kept: Path(parent) / kept for kept, _ in PRECISIONS}
        for kept, folder in folders.items():
            random_llava(sizes).to(getattr(torch, kept)).save_pretrained(folder)
        for _ in range(asked.rounds):
            for kept, wanted in PRECISIONS:
                for loader in LOADERS:
                    one = measured(loader, folders[kept], wanted, asked.device)
                    found.setdefault(f"{loader}, {kept} -> {wanted}", []).append(one)

    for name, rounds in found.items():
        worst = max(one["peak_over_weights"] for one in rounds)
        mapped = max(one["mapped_peak_over_weights"] for one in rounds)
        target = f" (target {TARGET:.2f})" if name.startswith("HookedVLM") else ""
        seconds = min(one["seconds"] for one in rounds)
        print(f"  {name:38s} {rounds[0]['weights_bytes'] / 1e6:6.0f} MB, peak x {worst:.3f}{target}, "
              f"mapped file pages x {mapped:.2f}, {seconds:.2f} s")  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"loading-{asked.device.replace(':', '')}.json"
    head = {"sizes": sizes.as_record(), "machine": machine(asked.device), "versions": versions(), "target": TARGET}
    file.write_text(json.dumps({**head, "rounds": found}, indent=1) + "\n")
    print(f"written to {file}")


if __name__ == "__main__":
    main()

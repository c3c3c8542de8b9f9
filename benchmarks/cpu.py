"""Side by side on the CPU: a LLaVA of some 117 M parameters, 616 positions, 32 decoder layers.

    python benchmarks/cpu.py                                   # all tasks, some 20 minutes on two cores
    python benchmarks/cpu.py --tasks forward sweep-to-last     # some of them
    nohup python benchmarks/cpu.py --resume > bench.log 2>&1 & # beside other work; again after a stop

Everyone holds the same random weights. Each task first asserts equal outputs, then counts FLOPs and peak memory, then
times everyone in interleaved rounds. The record goes to benchmarks/results, and `python -m docs.make_performance` makes
docs/performance.md from it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.side_by_side import main
from benchmarks.sizes import MID_SIZE

if __name__ == "__main__":
    sys.exit(main(MID_SIZE, __doc__.splitlines()[0]))

"""Side by side on CUDA: LLaVA-1.5-7B's own shape in bf16, random weights made on the device.

    python benchmarks/gpu.py                      # options as benchmarks/cpu.py; 14 GB of weights

No checkpoint is needed and no network. Every contestant shares the one copy of the weights.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.side_by_side import main
from benchmarks.sizes import LLAVA_7B

if __name__ == "__main__":
    sys.exit(main(LLAVA_7B, __doc__.splitlines()[0]))

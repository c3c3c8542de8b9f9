"""Imported by the server that processes are forked from: everything that a run loads late is there already.

One thread, so that no pool of threads stands when the server forks.
"""

import tempfile

import torch

from vlm_lens.experiments import run_experiment

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    run_experiment("attention-blocking", data="scenes,n=1,surfaces=true", out=folder, shows_progress=False)

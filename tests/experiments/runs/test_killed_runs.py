"""kill -9 at any moment: the same call goes on, and finds what an unbroken run finds."""

import multiprocessing
import time
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
import torch

from tests.experiments.runs.begun import SMALL, begin
from vlm_lens import HookedVLM
from vlm_lens.data import open_data
from vlm_lens.experiments import ExperimentResult, run_experiment

N_KILLS = 20


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that have the package in memory already: what takes time is the run itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.experiments.runs.begun"])
    return context


def seconds_of_a_run(processes: multiprocessing.context.ForkServerContext, folder: Path) -> float:
    for attempt in range(2):  # the first one also waits for the imports
        start = time.perf_counter()
        child = processes.Process(target=begin, args=(folder / f"timed {attempt}",))
        child.start()
        child.join()
        assert child.exitcode == 0
    return time.perf_counter() - start


def without_places(found: ExperimentResult) -> dict[str, Any]:
    """The summary, but for where the data were read from."""
    told = found.to_dict()
    return {**told, "data": {key: value for key, value in told["data"].items() if key != "source"}}


def test_a_run_killed_at_any_of_20_moments_finds_what_an_unbroken_one_finds(
    processes: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    # Rows of one machine are compared to the bit: with the same number of threads.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        vlm, data = HookedVLM.demo(), open_data(SMALL["data"])
        options = {key: value for key, value in SMALL.items() if key != "data"} | {"shows_progress": False}
        unbroken = run_experiment("attention-blocking", vlm, data, **options)
        lasts, random, was_broken = seconds_of_a_run(processes, tmp_path), Random(0), 0
        for number in range(N_KILLS):
            folder = tmp_path / str(number)
            child = processes.Process(target=begin, args=(folder,))
            child.start()
            child.join(timeout=random.uniform(0.05, 0.95) * lasts)
            child.kill()
            child.join()
            was_broken += not (folder / "summary.json").exists()
            again = run_experiment("attention-blocking", vlm, data, out=folder, **options)
            assert len(again.rows["cells"]) == len(unbroken.rows["cells"])
            pd.testing.assert_frame_equal(again.rows["cells"], unbroken.rows["cells"], check_exact=True)
            assert without_places(again) == without_places(unbroken)
            assert without_places(ExperimentResult.load(folder)) == without_places(unbroken)
            assert not [one for one in folder.rglob(".*") if one.name != ".lock"], "something half written was left"
        assert was_broken >= N_KILLS // 2, "most of the moments must lie within the run"
    finally:
        torch.set_num_threads(n_threads)

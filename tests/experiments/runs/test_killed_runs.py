"""kill -9 at any moment: the same call goes on, and finds what an unbroken run finds."""

import json
import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from tests.experiments.runs.begun import begin
from vlm_lens.experiments import ExperimentResult

N_KILLS = 20


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have the package in memory already: what takes time is the run itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.experiments.runs.begun", "tests.experiments.runs.warm"])
    return context


def run_to_the_end(processes: ForkServerContext, folder: Path) -> float:
    """Runs, or goes on; the seconds it took."""
    start = time.perf_counter()
    child = processes.Process(target=begin, args=(folder,))
    child.start()
    child.join()
    assert child.exitcode == 0
    return time.perf_counter() - start


def test_a_run_killed_at_any_of_20_moments_finds_what_an_unbroken_one_finds(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    run_to_the_end(processes, tmp_path / "first")  # waits for the imports too
    lasts = run_to_the_end(processes, tmp_path / "unbroken")
    unbroken = ExperimentResult.load(tmp_path / "unbroken").rows["cells"]
    summary = json.loads((tmp_path / "unbroken" / "summary.json").read_text())
    random, was_broken = Random(0), 0
    for number in range(N_KILLS):
        folder = tmp_path / str(number)
        child = processes.Process(target=begin, args=(folder,))
        child.start()
        child.join(timeout=random.uniform(0.02, 0.98) * lasts)
        child.kill()
        child.join()
        was_broken += not (folder / "summary.json").exists()
        run_to_the_end(processes, folder)
        again = ExperimentResult.load(folder).rows["cells"]
        pd.testing.assert_frame_equal(again, unbroken, check_exact=True)
        assert json.loads((folder / "summary.json").read_text()) == summary
        assert not [one for one in folder.rglob(".*") if one.name != ".lock"], "something half written was left"
    assert was_broken >= N_KILLS // 2, "most of the moments must lie within the run"

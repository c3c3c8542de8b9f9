"""A run's folder: taken up, refused, written by several processes, read back."""

import gc
import json
import resource
import shutil
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from vlm_lens import HookedVLM
from vlm_lens.data import open_data
from vlm_lens.errors import InputError
from vlm_lens.experiments import ExperimentResult, run_experiment
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.registry import experiment_named
from vlm_lens.experiments.runs.folder import RunFolder
from vlm_lens.experiments.runs.shard import rows_of, run_shard
from vlm_lens.experiments.runs.spec import RunSpec

NAME = "attention-blocking"
# One window and six sources: conditions enough to tell rows apart, few enough to be quick.
ONE_WINDOW: dict[str, Any] = {"windows": "sliding", "width": 6}
SMALL: dict[str, Any] = {"data": "scenes,n=18,surfaces=true", "shows_progress": False, **ONE_WINDOW}


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    return HookedVLM.demo()


@pytest.fixture(scope="module")
def kept(vlm: HookedVLM, tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    return run_experiment(NAME, vlm, out=tmp_path_factory.mktemp("runs") / "kept", **SMALL)


def copied(found: ExperimentResult, folder: Path) -> Path:
    assert found.folder is not None
    for file in found.folder.rglob("*"):
        if file.is_file() and file.name != ".lock":
            place = folder / file.relative_to(found.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return folder


def test_what_is_read_back_is_what_was_found(kept: ExperimentResult) -> None:
    assert kept.folder is not None
    again = ExperimentResult.load(kept.folder)
    pd.testing.assert_frame_equal(again.rows["cells"], kept.rows["cells"], check_exact=True)
    pd.testing.assert_frame_equal(again.summary(), kept.summary())
    assert again.to_dict() == kept.to_dict() == json.loads((kept.folder / "summary.json").read_text())


def test_a_run_that_keeps_nothing_finds_the_same(kept: ExperimentResult, vlm: HookedVLM) -> None:
    loose = run_experiment(NAME, vlm, **SMALL)
    assert loose.folder is None
    pd.testing.assert_frame_equal(loose.rows["cells"], kept.rows["cells"], check_exact=True)


def test_every_picture_has_its_rows_once_and_in_order(kept: ExperimentResult) -> None:
    cells = kept.rows["cells"]
    assert list(dict.fromkeys(cells["example"])) == [one.id for one in open_data("scenes,n=18,surfaces=true")]
    assert not cells.duplicated(["example", "window", "source"]).any()


def test_a_finished_run_is_not_run_again(kept: ExperimentResult, vlm: HookedVLM) -> None:
    assert kept.folder is not None
    before = {file: file.stat().st_mtime_ns for file in kept.folder.glob("rows/*/*")}
    run_experiment(NAME, vlm, out=kept.folder, **SMALL)
    assert {file: file.stat().st_mtime_ns for file in kept.folder.glob("rows/*/*")} == before


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "seed: 0, now 1"),
        ({"width": 3}, "options.width: 6, now 3"),
        ({"limit": 4}, "limit: None, now 4"),
        ({"preset": "paper"}, "preset: 'default', now 'paper'"),
        ({"data": "scenes,n=17,surfaces=true"}, "data.fingerprint"),
    ],
)
def test_a_folder_of_another_run_is_refused_with_what_differs(
    other: dict[str, Any], named: str, kept: ExperimentResult, vlm: HookedVLM
) -> None:
    with pytest.raises(InputError, match="holds another run") as refused:
        run_experiment(NAME, vlm, out=kept.folder, **{**SMALL, **other})
    assert named in str(refused.value)


def test_a_folder_of_other_weights_is_refused(kept: ExperimentResult) -> None:
    other = HookedVLM.demo()
    with torch.no_grad():
        other.blocks[2].mlp.W_in.mul_(1.01)
    with pytest.raises(InputError, match=r"model\.hash"):
        run_experiment(NAME, other, out=kept.folder, **SMALL)


def test_another_device_or_place_is_the_same_run(kept: ExperimentResult) -> None:
    moved = replace(kept.spec, model={**kept.spec.model, "path_or_name": "/elsewhere", "device": "cuda:1"})
    moved.check_is(kept.spec, "folder")
    assert moved.fingerprint == kept.spec.fingerprint


def test_a_run_that_is_going_on_is_left_alone(kept: ExperimentResult, vlm: HookedVLM) -> None:
    assert kept.folder is not None
    with RunFolder(kept.folder).held(kept.spec), pytest.raises(InputError, match="going on"):
        run_experiment(NAME, vlm, out=kept.folder, **SMALL)


def test_a_folder_that_cannot_be_locked_is_told_so(vlm: HookedVLM, tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(InputError, match="a folder that can be written"):
        run_experiment(NAME, vlm, out=tmp_path, **SMALL)


def test_what_differs_is_told_from_the_experiment_on(kept: ExperimentResult, vlm: HookedVLM) -> None:
    with pytest.raises(InputError, match="holds another run") as refused:
        run_experiment("correspondence", vlm, "scenes,n=4", out=kept.folder, shows_progress=False)
    assert f"got experiment: {NAME!r}, now 'correspondence'; " in str(refused.value)


def test_a_folder_with_something_else_in_it_is_left_alone(vlm: HookedVLM, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        run_experiment(NAME, vlm, out=tmp_path, **SMALL)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="a file"):
        run_experiment(NAME, vlm, out=tmp_path / "thesis.tex", **SMALL)


def test_rows_that_no_specification_speaks_for_are_not_taken_over(
    kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path
) -> None:
    folder = copied(kept, tmp_path / "orphaned")
    (folder / "spec.json").unlink()
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "figures")
    with pytest.raises(InputError, match="an empty folder, or one of a run, got .*rows"):
        run_experiment(NAME, vlm, out=folder, **{**SMALL, "seed": 5})
    assert any((folder / "rows").iterdir())


def test_two_pictures_of_one_id_are_refused(vlm: HookedVLM) -> None:
    data = open_data(SMALL["data"])
    twice = replace(data, examples=(*data.examples[:3], replace(data[3], id=data[0].id)))
    with pytest.raises(InputError, match=f"an id of its own for each picture, got '{data[0].id}' 2 times"):
        run_experiment(NAME, vlm, twice, shows_progress=False)


def test_what_a_killed_run_had_half_written_is_cleared_away(
    kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path
) -> None:
    folder = copied(kept, tmp_path / "killed")
    left = [folder / one for one in ("rows/.000003.7/cells.parquet", "figures/.plotly.min.js.7", ".summary.json.7")]
    for one in left:
        one.parent.mkdir(exist_ok=True)
        one.write_bytes(b"half")
    run_experiment(NAME, vlm, out=folder, **SMALL)
    assert not any(one.exists() for one in left) and not (folder / "rows" / ".000003.7").exists()


def test_a_damaged_shard_is_named_and_made_again(kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path) -> None:
    folder = copied(kept, tmp_path / "damaged")
    damaged = folder / "rows" / "000001" / "cells.parquet"
    damaged.write_bytes(b"PAR1 and nothing behind it")
    with pytest.raises(InputError, match="000001") as refused:
        run_experiment(NAME, vlm, out=folder, **SMALL)
    assert "Delete" in str(refused.value)
    shutil.rmtree(damaged.parent)
    with pytest.raises(InputError, match="2 of 3 shards"):
        ExperimentResult.load(folder)
    again = run_experiment(NAME, vlm, out=folder, **SMALL)
    pd.testing.assert_frame_equal(again.rows["cells"], kept.rows["cells"], check_exact=True)


def test_a_specification_that_is_none_is_named(kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path) -> None:
    folder = copied(kept, tmp_path / "broken")
    (folder / "spec.json").write_text("{")
    with pytest.raises(InputError, match=r"spec\.json"):
        run_experiment(NAME, vlm, out=folder, **SMALL)
    with pytest.raises(InputError, match="a run, with its spec"):
        ExperimentResult.load(tmp_path / "absent")


def test_a_full_disk_is_said_and_loses_nothing(kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path) -> None:
    folder = copied(kept, tmp_path / "full")
    for file in (folder / "rows" / "000002").iterdir():
        file.unlink()
    (folder / "rows" / "000002").rmdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file may have 4096 bytes from now on: the specification fits, a shard does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match="can be written") as refused:
            run_experiment(NAME, vlm, out=folder, **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "make room" in str(refused.value)
    assert sorted(one.name for one in (folder / "rows").iterdir()) == ["000000", "000001"]
    again = run_experiment(NAME, vlm, out=folder, **SMALL)
    pd.testing.assert_frame_equal(again.rows["cells"], kept.rows["cells"], check_exact=True)


def test_an_engine_may_take_shards_in_any_order_and_twice(kept: ExperimentResult, tmp_path: Path) -> None:
    def backwards(spec: RunSpec, shards: Sequence[int], folder: Path) -> Iterator[int]:
        for shard in [*reversed(shards), *shards]:
            yield run_shard(spec, shard, folder)

    found = run_experiment(NAME, out=tmp_path / "backwards", engine=backwards, **SMALL)
    pd.testing.assert_frame_equal(found.rows["cells"], kept.rows["cells"], check_exact=True)


def test_workers_find_what_one_process_finds(kept: ExperimentResult, tmp_path: Path) -> None:
    found = run_experiment(NAME, out=tmp_path / "two", workers=2, **SMALL)
    mine, one = found.rows["cells"], kept.rows["cells"]
    assert list(mine["example"]) == list(one["example"]) and list(mine["is_right"]) == list(one["is_right"])
    # Another number of threads adds in another order.
    assert (mine["probability"] - one["probability"]).abs().max() < 1e-5


def test_what_cannot_be_loaded_elsewhere_cannot_have_workers(vlm: HookedVLM) -> None:
    with pytest.raises(InputError, match="each process can load"):
        run_experiment(NAME, vlm, workers=2, **SMALL)
    with pytest.raises(InputError, match="at least 1"):
        run_experiment(NAME, workers=0, **SMALL)


def test_a_model_is_let_go_of_when_its_run_has_ended() -> None:
    vlm = HookedVLM.demo()
    seen = weakref.ref(vlm)
    run_experiment(NAME, vlm, limit=1, **SMALL)
    del vlm
    gc.collect()
    assert seen() is None


def test_a_shard_of_other_examples_than_the_run_began_with_is_refused(kept: ExperimentResult, tmp_path: Path) -> None:
    spec = replace(kept.spec, data={**kept.spec.data, "examples": "0" * 16, "source": SMALL["data"]})
    with pytest.raises(InputError, match="Choice of examples of the run"):
        run_shard(spec, 0, tmp_path)


def test_a_shard_of_other_data_than_the_run_began_with_is_refused(kept: ExperimentResult, tmp_path: Path) -> None:
    spec = replace(kept.spec, data={**kept.spec.data, "fingerprint": "0" * 16})
    with pytest.raises(InputError, match="Data of the run"):
        run_shard(spec, 0, tmp_path)


def test_the_limit_takes_the_first_examples(kept: ExperimentResult, vlm: HookedVLM) -> None:
    few = run_experiment(NAME, vlm, limit=3, **SMALL)
    cells = kept.rows["cells"]
    first = cells[cells["example"].isin(list(dict.fromkeys(cells["example"]))[:3])].reset_index(drop=True)
    pd.testing.assert_frame_equal(few.rows["cells"], first)
    with pytest.raises(InputError, match="limit"):
        run_experiment(NAME, vlm, limit=0, **SMALL)


class Hungry(type(experiment_named(NAME))):  # type: ignore[misc]
    """Needs more memory than there is for more than three examples at a time, or a sweep of more than 600 MiB."""

    def __init__(self, needs_small_sweeps: bool) -> None:
        self.needs_small_sweeps = needs_small_sweeps

    def rows(self, context: Context, examples: Any) -> Any:
        is_large = self.needs_small_sweeps and (context.memory is None or context.memory > 600 << 20)
        if len(examples) > 3 or is_large:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().rows(context, examples)


@pytest.mark.parametrize("needs_small_sweeps", [False, True])
def test_a_batch_that_memory_does_not_hold_is_halved_and_it_is_said(
    needs_small_sweeps: bool, kept: ExperimentResult, vlm: HookedVLM, tmp_path: Path
) -> None:
    data = open_data("scenes,n=8,surfaces=true")
    options = experiment_named(NAME).Options().but(**ONE_WINDOW)
    context = Context(vlm, data, options, 0, tmp_path)
    with pytest.warns(UserWarning, match="Out of memory with") as said:
        found = rows_of(Hungry(needs_small_sweeps), context, list(data))
    wanted = kept.rows["cells"].head(len(found["cells"]))
    pd.testing.assert_frame_equal(pd.DataFrame(found["cells"]), wanted)
    told = [str(one.message) for one in said]
    assert "Out of memory with 8 examples" in told[0] and "going on with 4" in told[0]
    assert any("a sweep now takes 512 MiB" in one for one in told) == needs_small_sweeps


def test_an_example_that_no_memory_holds_is_named(vlm: HookedVLM, tmp_path: Path) -> None:
    class Insatiable(type(experiment_named(NAME))):  # type: ignore[misc]
        def rows(self, context: Context, examples: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    data = open_data("scenes,n=1,surfaces=true")
    context = Context(vlm, data, experiment_named(NAME).Options().but(**ONE_WINDOW), 0, tmp_path, memory=40 << 20)
    with pytest.raises(InputError, match=f"Example '{data[0].id}'"):
        rows_of(Insatiable(), context, list(data))


def test_an_error_of_another_kind_is_not_taken_for_want_of_memory(vlm: HookedVLM, tmp_path: Path) -> None:
    class Broken(type(experiment_named(NAME))):  # type: ignore[misc]
        def rows(self, context: Context, examples: Any) -> Any:
            raise RuntimeError("shapes do not match")

    data = open_data("scenes,n=2,surfaces=true")
    context = Context(vlm, data, experiment_named(NAME).Options().but(**ONE_WINDOW), 0, tmp_path)
    with pytest.raises(RuntimeError, match="shapes"):
        rows_of(Broken(), context, list(data))


def test_a_shard_that_is_there_is_not_written_again(kept: ExperimentResult, tmp_path: Path) -> None:
    folder = copied(kept, tmp_path / "twice")
    RunFolder(folder).write_shard(1, {"cells": [{"example": "another"}]})
    pd.testing.assert_frame_equal(ExperimentResult.load(folder).rows["cells"], kept.rows["cells"])


def test_the_sweep_agrees_with_the_plain_loop_and_both_are_timed(vlm: HookedVLM, tmp_path: Path) -> None:
    found = run_experiment(NAME, vlm, out=tmp_path, compares=True, **{**SMALL, "data": "scenes,n=1,surfaces=true"})
    compared = found.compared
    assert compared is not None and compared.n_conditions == 6
    assert compared.deviation is not None and compared.deviation < 1e-5
    assert f"{compared.loop_seconds / compared.sweep_seconds:.1f} x" in found.told()
    assert ExperimentResult.load(tmp_path).compared == compared
    again = run_experiment(NAME, vlm, out=tmp_path, compares=True, **{**SMALL, "data": "scenes,n=1,surfaces=true"})
    assert again.compared == compared, "timed once for a folder"


def test_a_result_shows_itself(kept: ExperimentResult) -> None:
    page = kept._repr_html_()
    assert "0-5" in page and "Accuracy. N = " in page
    assert "18 examples" in repr(kept)
    assert kept.plot().data and kept.plot("probability").data
    with pytest.raises(InputError, match="one of accuracy, probability"):
        kept.plot("absent")
    with pytest.raises(InputError, match="one of accuracy"):
        kept.summary("absent")
    assert kept.folder is not None
    assert "plotly" in (kept.folder / "figures" / "accuracy.html").read_text(encoding="utf-8")


def test_an_experiment_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match=NAME):
        run_experiment("absent")

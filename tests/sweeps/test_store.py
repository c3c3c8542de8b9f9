"""A sweep on disk goes on in another process, and mistakes nothing else for itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.sweeps.scene import least_memory
from vlm_lens import (
    AttentionKnockout,
    Generated,
    HookedVLM,
    LogitLens,
    Logits,
    Probability,
    SweepResult,
    ZeroAblation,
)
from vlm_lens.errors import InputError
from vlm_lens.sweeps import Sweep

CONDITIONS: dict[str, Any] = {
    "hidden": AttentionKnockout("last", "image", layers=[0]),
    "ablated": ZeroAblation("image"),
    "nothing": [],
}
READINGS = {
    "logits": ["logits", Probability({0: 3, 1: 5})],
    "several": Logits("question"),
    "answer": Probability({0: 3, 1: 5}),
    "text": Generated(4, eos_token_id=()),
}


def sweep(
    out: Path, given: Any = CONDITIONS, read: Any = "logits", vlm: HookedVLM | None = None, **options: Any
) -> Sweep:
    vlm = vlm or tiny_vlm()
    inputs = options.pop("inputs", None) or tiny_inputs(vlm)
    return Sweep(vlm, inputs, given, read, out=out, shows_progress=False, **options)


def smallest_bound() -> int:
    vlm = tiny_vlm()
    return least_memory(lambda memory: Sweep(vlm, tiny_inputs(vlm), CONDITIONS, memory=memory))


def assert_equal(found: SweepResult, expected: SweepResult) -> None:
    for mine, other in zip((*found, found.clean), (*expected, expected.clean), strict=True):
        assert mine.name == other.name and mine.condition.objects == other.condition.objects
        assert (mine.logits is None) == (other.logits is None) and list(mine.values) == list(other.values)
        if other.logits is not None:
            assert mine.logits is not None and torch.equal(mine.logits, other.logits)
        for name, value in other.values.items():
            assert torch.equal(mine.values[name], value)
        if other.generation is not None:
            assert mine.generation is not None and torch.equal(mine.generation.tokens, other.generation.tokens)
            assert torch.equal(mine.generation.logits, other.generation.logits)
            assert mine.generation.texts == other.generation.texts
            assert torch.equal(mine.generation.layout.role_ids, other.generation.layout.role_ids)
    assert found.to_dataframe().equals(expected.to_dataframe())


@pytest.mark.parametrize("name", READINGS)
def test_what_was_found_is_taken_up_bit_for_bit_and_not_run_again(tmp_path: Path, name: str) -> None:
    expected = sweep(tmp_path / "new", read=READINGS[name]).run()
    again = sweep(tmp_path / "new", read=READINGS[name])
    assert again.lengths == []
    assert_equal(again.run(), expected)


def test_a_lost_part_alone_is_run_again(tmp_path: Path) -> None:
    expected = sweep(tmp_path, memory=smallest_bound()).run()
    parts = sorted(tmp_path.glob("part-*.safetensors"))
    assert len(parts) > 1
    parts[-1].unlink()
    again = sweep(tmp_path)
    assert len(again.lengths) == 1
    found = again.run()
    torch.testing.assert_close(found.logits, expected.logits)
    assert sweep(tmp_path).lengths == []


_OTHER_PROCESS = """
import os, sys
from tests.sweeps import test_store
from vlm_lens import Writer
before = test_store.Sweep._run_part
def dies_at_the_second(self, part, *args):
    if self._cells:
        os._exit(7)
    before(self, part, *args)
test_store.Sweep._run_part = dies_at_the_second
test_store.sweep(test_store.Path(sys.argv[1]), memory=test_store.smallest_bound()).run()
"""


def test_a_process_that_was_killed_is_gone_on_from_in_another(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", _OTHER_PROCESS, str(tmp_path)], cwd=root, capture_output=True)
    assert ended.returncode == 7, ended.stderr.decode()
    n_done = len(list(tmp_path.glob("part-*")))
    assert n_done == 1
    again = sweep(tmp_path, memory=smallest_bound())
    whole = sweep(tmp_path / "other", memory=smallest_bound())
    assert len(again.lengths) == len(whole.lengths) - 1
    torch.testing.assert_close(again.run().logits, whole.run().logits)


def changed_model() -> HookedVLM:
    from tests.model.tiny_vlms import new_checkpoint

    checkpoint = new_checkpoint()
    with torch.no_grad():
        next(iter(checkpoint.model.language_model.layers[0].parameters()))[0, 0] += 1
    return HookedVLM.from_hf(checkpoint)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("model", {"vlm": "changed"}),
        ("inputs", {"inputs": 1}),
        (r"read .Logits\(positions='all'\) \(.*got .Logits\(positions='last'\) \(", {"read": Logits("all")}),
        ("read", {"read": ["logits", Probability({0: 3, 1: 5})]}),
        ("conditions of 3", {"given": dict(list(CONDITIONS.items())[:2])}),
        ("conditions", {"given": {**CONDITIONS, "ablated": ZeroAblation("image", "hook_embed")}}),
        ("conditions", {"given": {"renamed": CONDITIONS["hidden"], "ablated": CONDITIONS["ablated"], "nothing": []}}),
    ],
)
def test_the_folder_of_another_sweep_is_refused(tmp_path: Path, what: str, options: dict[str, Any]) -> None:
    sweep(tmp_path).run()
    held = {path: path.read_bytes() for path in tmp_path.iterdir()}
    if "vlm" in options:
        options = {"vlm": changed_model()}
    if "inputs" in options:
        options = {"inputs": tiny_inputs(tiny_vlm(), seed=1)}
    if what == "conditions of 3":
        what = "conditions of 2, got 3"
    with pytest.raises(InputError, match=f"is of another sweep: expected {what}.*Take another folder, or ask"):
        sweep(tmp_path, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == held


def test_a_folder_with_other_files_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="expected an empty folder, or that of a sweep, got other files"):
        sweep(tmp_path)
    with pytest.raises(InputError, match="expected a folder, got a file"):
        sweep(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_an_unreadable_specification_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(InputError, match="expected a readable spec.json, got another file"):
        sweep(tmp_path)


def test_a_damaged_part_is_refused_by_name_and_run_again_once_deleted(tmp_path: Path) -> None:
    expected = sweep(tmp_path).run()
    (part,) = tmp_path.glob("part-*")
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"Part '.*{part.name}' of a sweep: .* Delete this file"):
        sweep(tmp_path)
    part.unlink()
    torch.testing.assert_close(sweep(tmp_path).run().logits, expected.logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: {"foreign": held["0.logits"]}, "what conditions of this sweep gave, got foreign"),
        (lambda held: {**held, "17.logits": held["0.logits"].clone()}, "got 17.logits"),
        (lambda held: {"0.other": held["0.logits"]}, "logits of each condition, got less of number 0"),
    ],
)
def test_a_part_with_something_else_in_it_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    sweep(tmp_path).run()
    (part,) = tmp_path.glob("part-*")
    save_file(change({name: value.clone() for name, value in load_file(part).items()}), part)
    with pytest.raises(InputError, match=message):
        sweep(tmp_path)


def test_nothing_is_written_for_a_sweep_that_is_refused(tmp_path: Path) -> None:
    for wrong in ({"read": LogitLens()}, {"given": {"a": LogitLens()}, "read": None}, {"read": Probability(10**9)}):
        with pytest.raises(InputError):
            sweep(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="conditions and readings without probes, got LogitLens.* Leave out out="):
        sweep(tmp_path / "new", read=LogitLens())


def test_what_is_kept_is_plain(tmp_path: Path) -> None:
    sweep(tmp_path).run()
    spec = json.loads((tmp_path / "spec.json").read_text())
    assert set(spec) == {"model", "dtype", "inputs", "read", "conditions", "versions"}
    assert [name for name, _ in spec["conditions"]] == list(CONDITIONS)


def test_what_stands_at_the_model_besides_is_never_taken_for_the_model(tmp_path: Path) -> None:
    vlm, rule = tiny_vlm(), "out of a sweep: expected a model at which nothing else stands"
    linear = vlm.blocks[1].attn.q_proj
    options: dict[str, Any] = {"out": tmp_path / "sweep", "shows_progress": False}
    with vlm.attach(ZeroAblation("question", "hook_embed")), pytest.raises(InputError, match=rule):
        Sweep(vlm, tiny_inputs(vlm), CONDITIONS, **options)
    assert not (tmp_path / "sweep").exists()
    planned = Sweep(vlm, tiny_inputs(vlm), CONDITIONS, **options)
    handle = linear.register_forward_hook(lambda module, given, left: 2 * left)
    try:
        with pytest.raises(InputError, match=rule):
            planned.run()
    finally:
        handle.remove()
    assert len(planned.run()) == len(CONDITIONS)

"""Every task runs, for everyone who can do it, and whoever computes something else is not timed."""

import pytest
import torch

from benchmarks.conditions import Condition
from benchmarks.floor import Floor, Rates, Shapes
from benchmarks.measure import Options, measured
from benchmarks.rivals import BASELINE, Ours, Rival, Setup
from benchmarks.rivals.rival import Output
from benchmarks.side_by_side import main
from benchmarks.tasks import TASKS
from benchmarks.tasks.growth import growth
from benchmarks.tasks.kinds import knockout_kinds
from benchmarks.tasks.task import Task
from tests.benchmarks.tiny import TINY

QUICK = Options(n_rounds=2, seconds=0.001)
RATES = Rates(
    dict.fromkeys((*Shapes(TINY).decoder_layer, *Shapes(TINY).tower_layer, *Shapes(TINY).projector), 1e9), 1e9, 1e9
)
RATES.products[Shapes(TINY).unembedding] = 1e9
pytestmark = pytest.mark.filterwarnings("ignore")  # of other tools, which warn as they please


@pytest.mark.parametrize("name", TASKS)
def test_everyone_who_can_do_a_task_computes_the_same(name: str, everyone: list[Rival]) -> None:
    found = measured(TASKS[name](TINY), everyone, TINY, Floor(TINY, RATES), QUICK)["contestants"]

    assert not [who for who, one in found.items() if "is_unequal" in one]
    assert not [who for who in ("vlm_lens", "vlm_lens sweep") if "left_out" in found.get(who, {})]
    timed = {who: one for who, one in found.items() if "left_out" not in one}
    assert all(one["seconds"]["median"] > 0 and one["flops"] > 0 for one in timed.values())


@pytest.mark.parametrize("name", ["sweep-to-last", "mean-ablation", "part-identification", "generation-blocked"])
def test_conditions_move_what_is_compared_by_more_than_the_tolerance(name: str, everyone: list[Rival]) -> None:
    found = measured(TASKS[name](TINY), everyone[:1], TINY, Floor(TINY, RATES), QUICK)

    assert found["smallest_effect"] > found["tolerance"]


def test_who_computes_something_else_is_left_out_and_not_timed(everyone: list[Rival]) -> None:
    task = TASKS["forward"](TINY)

    def twice_for_us(rival: Rival, condition: Condition) -> Output:
        logits = rival.logits()["logits"]
        return {"logits": 2 * logits if isinstance(rival, Ours) else logits}

    other = Task(task.name, task.what, task.conditions, twice_for_us)
    found = measured(other, everyone, TINY, Floor(TINY, RATES), QUICK)["contestants"]

    assert found["vlm_lens"]["is_unequal"] and "seconds" not in found["vlm_lens"]
    assert "seconds" in found[BASELINE]


def test_a_long_loop_runs_other_conditions_in_each_round_and_is_scaled_up(everyone: list[Rival]) -> None:
    seen: list[str] = []
    task = TASKS["sweep-to-last"](TINY)

    def noted(rival: Rival, condition: Condition) -> Output:
        seen.append(condition.name)
        return rival.last_logits(condition.changes)

    other = Task(task.name, task.what, task.conditions, noted)
    options = Options(n_rounds=len(task.conditions), seconds=0)
    found = measured(other, everyone[:1], TINY, Floor(TINY, RATES), options)["contestants"][BASELINE]

    assert found["scale"] == len(task.conditions)
    assert sorted(seen[-len(task.conditions) :]) == sorted(one.name for one in task.conditions)


def test_growth_covers_conditions_tokens_and_layers(setup: Setup) -> None:
    rows = growth(TINY, QUICK, conditions=(1, 5), tokens=(12,), layers=(0.5,))["rows"]

    assert {row["axis"] for row in rows} == {"conditions", "tokens", "layers"}
    assert all(row["naive_seconds"] > 0 for row in rows)
    assert all(row["deviation"] < 1e-5 and row["seconds"]["sweep"] > 0 for row in rows)


def test_every_kind_of_knockout_acts_as_transformers_do(setup: Setup) -> None:
    kinds = knockout_kinds(setup, QUICK)["kinds"]

    assert all(one["deviation"] is None or one["deviation"] < 1e-5 for one in kinds.values())


def test_the_command_writes_a_record_and_resumes_it(tmp_path, capsys) -> None:
    sizes = [text for name, value in TINY.as_record().items() for text in (f"--{name.replace('_', '-')}", str(value))]
    out = tmp_path / "record.json"
    options = ["--threads", "1", "--rounds", "1", "--rivals", "vlm_lens", "--out", str(out), *sizes]

    assert main(TINY, "tiny", [*options, "--tasks", "forward"]) == 0
    first = out.read_text()
    assert main(TINY, "tiny", [*options, "--tasks", "forward", "--resume"]) == 0

    assert '"forward"' in first and out.read_text() == first
    assert torch.get_num_threads() == 1

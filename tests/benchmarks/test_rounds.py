"""Rounds and records: everyone in turn, ratios within a round, a stop that loses nothing."""

import json

import pytest

from benchmarks.record import OtherRecord, Record
from benchmarks.rounds import Entry, Spread, interleaved, ratios

HEAD = {"sizes": {"d_model": 1}, "versions": {"torch": "2"}, "machine": {"cores": 2, "load_before": 0.1}}


def test_everyone_has_every_place_in_the_order() -> None:
    order: list[str] = []
    entries = {name: Entry(lambda name=name: order.append(name)) for name in "abc"}
    interleaved(entries, 3, "cpu")
    assert order == [*"abc", *"bca", *"cab"]


def test_a_slow_one_sits_rounds_out() -> None:
    times = interleaved({"slow": Entry(lambda: None, n_rounds=2), "quick": Entry(lambda: None)}, 6, "cpu")
    assert sum(one is not None for one in times["slow"]) == 2
    assert None not in times["quick"]


def test_a_part_is_scaled_to_the_whole() -> None:
    times = interleaved({"part": Entry(lambda: sum(range(10000)), scale=1e6)}, 1, "cpu")
    assert times["part"][0] is not None and times["part"][0] > 10


def test_a_ratio_is_taken_within_rounds_in_which_both_ran() -> None:
    found = ratios([2.0, None, 30.0], [1.0, 5.0, 10.0])
    assert found is not None and (found.median, found.n) == (2.5, 2)
    assert ratios([None], [1.0]) is None


def test_a_single_value_is_its_own_spread() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0, 1)


def test_a_record_is_whole_after_every_task_and_keeps_the_others(tmp_path) -> None:
    path = tmp_path / "record.json"
    Record(path, HEAD, keeps=False).keep("forward", {"seconds": 1})
    later = Record(path, HEAD | {"machine": {"cores": 2, "load_before": 0.7}}, keeps=True)
    assert later.has("forward")
    later.keep("knockout", {"seconds": 2})
    assert list(json.loads(path.read_text())["tasks"]) == ["forward", "knockout"]
    assert not Record(path, HEAD, keeps=False).has("forward")


@pytest.mark.parametrize("name", HEAD)
def test_tasks_of_other_sizes_versions_or_machines_do_not_stand_together(tmp_path, name: str) -> None:
    path = tmp_path / "record.json"
    Record(path, HEAD, keeps=False).keep("forward", {"seconds": 1})
    with pytest.raises(OtherRecord, match=f"same {name}"):
        Record(path, HEAD | {name: {"other": 3}}, keeps=True)

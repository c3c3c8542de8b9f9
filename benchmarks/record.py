"""The record of a run: written after every task, and taken up again where it stopped."""

import json
from pathlib import Path
from typing import Any

from benchmarks.sizes import Sizes

RESULTS = Path(__file__).parent / "results"


SAME = ("sizes", "versions", "machine")
PASSING = ("load_before",)


class OtherRecord(Exception):
    """A record that was made with other sizes, versions or options."""


class Record:
    """A JSON file that grows task by task.

    Args:
        path: the file.
        head: sizes, versions, machine and rates of this run.
        keeps: tasks that the file has already stay in it, if they were measured on the same; otherwise it begins anew.

    Raises:
        OtherRecord: they were measured on something else.
    """

    def __init__(self, path: Path, head: dict[str, Any], *, keeps: bool) -> None:
        self.path = path
        self.content: dict[str, Any] = {**head, "tasks": {}}
        if not keeps or not path.exists():
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        for name in SAME:
            there, here = _lasting(before.get(name)), _lasting(head.get(name))
            if there != here:
                raise OtherRecord(
                    f"Tasks of {path} stay with others: expected the same {name}, got {there} there and {here} here. "
                    "Measure all tasks anew without --resume, or name another file with --out."
                )
        self.content["tasks"] = before["tasks"]

    def has(self, task: str) -> bool:
        return task in self.content["tasks"]

    def keep(self, task: str, found: dict[str, Any]) -> None:
        """Add a task, and write the whole file anew beside the old one."""
        self.content["tasks"][task] = found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.path)


def _lasting(facts: Any) -> Any:
    """What is the same from one run to the next."""
    return {name: one for name, one in facts.items() if name not in PASSING} if isinstance(facts, dict) else facts


def path_for(sizes: Sizes) -> Path:
    """Where the record of these sizes stands by default."""
    return RESULTS / f"side-by-side-{sizes.device.replace(':', '')}-{sizes.dtype}.json"

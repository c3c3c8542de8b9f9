"""The record of a run: written after every task, and taken up again where it stopped."""

import json
from pathlib import Path
from typing import Any

from benchmarks.sizes import Sizes

RESULTS = Path(__file__).parent / "results"


class OtherRecord(Exception):
    """A record that was made with other sizes, versions or options."""


class Record:
    """A JSON file that grows task by task."""

    def __init__(self, path: Path, head: dict[str, Any], *, is_resumed: bool = False) -> None:
        self.path = path
        self.content: dict[str, Any] = {**head, "tasks": {}}
        if is_resumed and path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            for name in ("sizes", "versions"):
                if before[name] != head[name]:
                    there, here = before[name], head[name]
                    raise OtherRecord(
                        f"Cannot resume {path}: expected the same {name}, got {there} there and {here} here. "
                        "Leave out --resume, or name another file with --out."
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


def path_for(sizes: Sizes) -> Path:
    """Where the record of these sizes stands by default."""
    return RESULTS / f"side-by-side-{sizes.device.replace(':', '')}-{sizes.dtype}.json"

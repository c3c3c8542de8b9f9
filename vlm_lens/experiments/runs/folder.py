"""A run's folder: spec.json, shards of Parquet, summary.json, figures.

A shard is a folder with a Parquet file for each table. It is written beside its place and moved there in one step, so
it is either all there or not at all.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from vlm_lens.errors import InputError
from vlm_lens.experiments.runs.spec import RunSpec


class RunFolder:
    """Where a run is kept.

    Args:
        path: the folder; `held` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def shared(self) -> Path:
        """For files that all shards share."""
        return self.path / "shared"

    @contextmanager
    def held(self, spec: RunSpec) -> Iterator["RunFolder"]:
        """The folder, for this run alone: made, or taken up again.

        Raises:
            InputError: it holds another run, something that is no run, or a run that is going on.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"Folder {self.path}", "a folder", "a file", "Name another one with --out.")
        if self.path.is_dir() and not (self.path / "spec.json").exists() and not _is_ours(self.path):
            got = ", ".join(sorted(one.name for one in self.path.iterdir())[:4])
            advice = "Name another one with --out."
            raise InputError(f"Folder {self.path}", "an empty folder, or one of a run", got, advice)
        try:
            self.shared.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            advice = "Wait for it, or name another folder with --out."
            raise InputError(f"Folder {self.path}", "no run that is going on", "one", advice) from None
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self._take_up(spec)
            yield self
        finally:
            lock.release()

    def read_spec(self) -> RunSpec:
        """What the run is of.

        Raises:
            InputError: there is no run here.
        """
        file = self.path / "spec.json"
        if not file.is_file():
            raise InputError(f"Folder {self.path}", "a run, with its spec.json", "none")
        return RunSpec.from_json(file.read_text(encoding="utf-8"))

    def has(self, shard: int) -> bool:
        """Whether a shard is there."""
        return self._shard(shard).is_dir()

    def missing(self, spec: RunSpec) -> list[int]:
        """The shards that are not there yet."""
        return [shard for shard in range(spec.n_shards) if not self.has(shard)]

    def write_shard(self, shard: int, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Write the rows of a shard, all tables in one step. One that is there already stays.

        Raises:
            InputError: the disk is full or cannot be written; nothing of the shard is left then.
        """
        place = self._shard(shard)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            beside.mkdir(parents=True)
            for name, rows in tables.items():
                if rows:
                    pd.DataFrame(list(rows)).to_parquet(beside / f"{name}.parquet", index=False)
            for file in beside.iterdir():
                _to_disk(file)
            os.replace(beside, place)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            if not self.has(shard):  # else another process was first, with the same rows
                raise _unwritable(self.path, error) from error

    def read_rows(self, spec: RunSpec) -> dict[str, pd.DataFrame]:
        """The rows of all shards, in the order of the examples.

        Raises:
            InputError: a shard is damaged, with its name.
        """
        found: dict[str, list[pd.DataFrame]] = {}
        for shard in range(spec.n_shards):
            for file in sorted(self._shard(shard).glob("*.parquet")):
                try:
                    found.setdefault(file.stem, []).append(pd.read_parquet(file))
                except (OSError, ValueError) as error:
                    advice = f"Delete {file.parent} and run again: that shard alone is made anew."
                    raise InputError(f"Shard {file}", "a Parquet file", repr(error), advice) from None
        return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}

    def write(self, name: str, text: str) -> Path:
        """Write a file in one step.

        Raises:
            InputError: the disk is full or cannot be written; what was there before stays.
        """
        place = self.path / name
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            _to_disk(beside)
            os.replace(beside, place)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _unwritable(self.path, error) from error
        return place

    def write_json(self, name: str, value: Any) -> Path:
        """Write JSON in one step."""
        return self.write(name, json.dumps(value, indent=1))

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote; None where it did not."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def _shard(self, shard: int) -> Path:
        return self.path / "rows" / f"{shard:06d}"

    def _take_up(self, spec: RunSpec) -> None:
        if (self.path / "spec.json").exists():
            spec.check_is(self.read_spec(), self.path)
        self.write("spec.json", spec.to_json() + "\n")
        # What a run that was killed had half written. What stands in `shared` is the experiment's own affair.
        for left in (*self.path.glob("rows/.*"), *self.path.glob("figures/.*"), *self.path.glob(".*.json.*")):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    """Whether a folder is empty but for what a run leaves that was killed before it said what it is of.

    Rows, or what shards share, are of a run that did say so: without its word nobody knows of which.
    """
    return all(
        one.name == ".lock" or one.name.startswith(".spec.json") or (one.name == "shared" and not any(one.iterdir()))
        for one in path.iterdir()
    )


def _to_disk(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _unwritable(path: Path, error: OSError) -> InputError:
    advice = "Every shard that was finished is kept: make room, and run the same command again."
    return InputError(f"Folder {path}", "a folder that can be written", str(error), advice)

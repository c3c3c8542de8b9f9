"""Runs the tutorials and keeps their outputs in them: `python -m tutorials.execute [NOTEBOOK ...]`."""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tutorials.still_pictures import with_still_pictures

# What a kernel would say on its own account, and no reader of a tutorial needs.
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
# Products of a model this small gain nothing from a second thread, and on a busy machine threads wait for each other.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

TUTORIALS = sorted(Path(__file__).parent.glob("*.ipynb"))
SECONDS_A_CELL = 120


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh kernel; nothing is written.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources=resources,
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute(env=os.environ | QUIET | ONE_THREAD)
    return notebook


def keep(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Writes the notebook whole or not at all."""
    half = path.with_suffix(".half")
    nbformat.write(notebook, half)
    os.replace(half, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=TUTORIALS)
    for path in parser.parse_args().notebooks:
        print(f"running {path.name}")
        keep(with_still_pictures(executed(path)), path)


if __name__ == "__main__":
    main()

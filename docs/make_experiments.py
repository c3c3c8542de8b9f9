"""Run every experiment on the bundled model and scenes, and write `experiments.md`.

    python -m docs.make_experiments                          # what is missing; then the page
    python -m docs.make_experiments --only object-ablation   # some of them
    python -m docs.make_experiments --n 8 --out /tmp/seen    # a quick look, on 8 pictures each

Runs are kept in `out/reproduce`, so that an interrupted command goes on where it stopped; the summaries go to
`data/experiments.json`. The page is made from them; figures are drawn by a headless Chromium, and kept as they are
where there is none. `tests/test_docs_experiments.py` holds the page against the numbers.
"""

import argparse
import base64
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from docs.reproduced.page import Data, layout_of, picture_of, rendered
from docs.reproduced.runs import RUNS, Reproduced
from tutorials.still_pictures import BROWSER, still_pictures
from vlm_lens.experiments import ExperimentResult, run_experiment

FOLDER, KEPT = Path(__file__).parent, Path("out/reproduce")
MOST_LINES = 40
"""Of a table on the page; longer ones are in the data."""


def reproduce(run: Reproduced, out: Path, n: int | None) -> dict[str, Any]:
    """One experiment: its summary, and how long it took (all of it, where it was taken up again)."""
    torch.set_num_threads(1)
    data = run.data if n is None else re.sub(r"n=\d+", f"n={n}", run.data)
    folder = out / run.experiment
    spent = folder / "shared" / "seconds.json"
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    start = time.perf_counter()
    is_finished = (folder / "summary.json").exists()
    options = {**run.options, **{name: str(out / other) for name, other in run.reads.items()}}
    found = run_experiment(run.experiment, "demo", data, out=folder, compares=True, shows_progress=False, **options)
    seconds = before + (0.0 if is_finished else time.perf_counter() - start)
    spent.write_text(json.dumps(seconds))
    return summary_of(found, seconds)


def summary_of(found: ExperimentResult, seconds: float) -> dict[str, Any]:
    """What the page needs."""
    tables = found.found.tables
    layouts = [
        layout_of(name, one.caption, one.layout) for name, one in tables.items() if len(one.layout) <= MOST_LINES
    ]
    pictures = {name: json.loads(found.plot(name).to_json()) for name in found.figures}
    return {
        **found.to_dict(),
        "seconds": round(seconds, 1),
        "compared": None if found.compared is None else str(found.compared),
        "layouts": layouts,
        "figures": list(pictures),
        "drawn": pictures,
    }


def keep(data: Data, file: Path) -> None:
    """Write the summaries, without the figures."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = {name: {key: one[key] for key in one if key != "drawn"} for name, one in data.items()}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)


def kept(file: Path) -> Data:
    """The summaries of an earlier run; none where there was none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def draw(found: dict[str, Any], browser: str, folder: Path) -> None:
    """The figures of an experiment, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = still_pictures(list(found["drawn"].values()), browser)
    for name, picture in zip(found["drawn"], pictures, strict=True):
        (folder / picture_of(found["experiment"], name)).write_bytes(base64.b64decode(picture))


def _reproduced(
    pool: ProcessPoolExecutor, chosen: Sequence[Reproduced], out: Path, n: int | None
) -> Iterator[dict[str, Any]]:
    """Each run as it ends; one that reads another begins behind it."""
    waiting, ended = list(chosen), {one.experiment for one in RUNS} - {one.experiment for one in chosen}
    running: set[Future[dict[str, Any]]] = set()
    while waiting or running:
        ready = [one for one in waiting if ended >= set(one.reads.values())]
        waiting = [one for one in waiting if one not in ready]
        running |= {pool.submit(reproduce, one, out, n) for one in ready}
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for one in done:
            ended.add(one.result()["experiment"])
            yield one.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m docs.make_experiments", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[one.experiment for one in RUNS], help="some experiments")
    parser.add_argument("--n", type=int, help="so many pictures each, for a quick look")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the page")
    parser.add_argument("--workers", type=int, default=2, help="experiments at a time")
    parser.add_argument("--no-figures", action="store_true", help="leave the figures as they are")
    given = parser.parse_args(arguments)
    file = given.out / "data" / "experiments.json"
    data = kept(file)
    chosen = [one for one in RUNS if given.only is None or one.experiment in given.only]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context) as pool, tqdm(total=len(chosen), unit="experiment") as bar:
        for found in _reproduced(pool, chosen, given.kept, given.n):
            data[found["experiment"]] = found
            keep({one.experiment: data[one.experiment] for one in RUNS if one.experiment in data}, file)
            if BROWSER is not None and not given.no_figures:
                draw(found, BROWSER, given.out / "images")
            bar.set_postfix_str(found["experiment"])
            bar.update()
    (given.out / "experiments.md").write_text(rendered(kept(file)), encoding="utf-8")
    if BROWSER is None:
        sys.stderr.write("No chromium here: the figures stay as they are.\n")


if __name__ == "__main__":
    main()

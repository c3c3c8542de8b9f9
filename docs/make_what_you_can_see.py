"""Measure what the bundled model's insides show, and write `what_you_can_see.md` with its figures and numbers.

    python -m docs.make_what_you_can_see                       # what is missing, with N = 300; then the page
    python -m docs.make_what_you_can_see --again knockout      # measure some sections again, or --again all
    python -m docs.make_what_you_can_see --n 30 --out /tmp/see # a quick look

Numbers go to `data/what_you_can_see.json` as soon as a section has them, so that an interrupted command goes on where
it stopped. The page and its tables are made from them; figures are drawn by a headless Chromium, and kept as they are
where there is none. `tests/test_docs_what_you_can_see.py` holds the page against the numbers.
"""

import argparse
import base64
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from docs.seen import ablation, attention, focus, knockout, lens, reprompting
from docs.seen.rows import rounded
from tutorials.still_pictures import BROWSER, still_pictures

SECTIONS = {one.NAME: one for one in (ablation, lens, attention, knockout, reprompting, focus)}
FOLDER, N = Path(__file__).parent, 300

Data = dict[str, dict[str, Any]]
"""For each section how it was measured, and its rows: `{"n": 300, "seconds": 61, "rows": [{...}, ...]}`."""

OPENING = """\
# What you can see

Six questions to the bundled model (6 decoder layers, 144 patches; its [model card](../vlm_lens/demo/MODEL_CARD.md)), on
held-out scenes drawn by code, whose objects are known to the pixel. Each has its code, a figure, and the numbers with N
and their 95% intervals. `make see` measures them all and writes this page; the numbers are also in
[data/what_you_can_see.json](data/what_you_can_see.json).

They are facts about one small model that was trained on such scenes. What a large model does is for the same lines to
find out, with `HookedVLM.from_pretrained` in the place of `demo`.

```python
from vlm_lens import HookedVLM
from vlm_lens.demo.examples import example_scenes
from vlm_lens.demo.scenes import draw_scene

vlm, example = HookedVLM.demo(), example_scenes()[0]                 # a cat on a bed
inputs = vlm.prepare(example.scene.image, "Is there a cat in this image?")
cat = inputs.layout.region(example.subject.mask)
```
"""
CLOSING = """\
## How it was measured

Means have normal intervals (cut off at 0 and 1), shares Wilson's, medians those between two order statistics. What is
averaged over patches, rows or objects is averaged within a scene first, and the interval is over scenes: patches of one
picture are no independent observations. The scenes of a question are the first held-out ones in which the object with
its neighbours leaves as many patches for the random control. fp32, a process a section, two at a time, a thread each:
{minutes:.0f} minutes of processor time ({each}).
"""


def measure(name: str, n: int, position: int = 0) -> dict[str, Any]:
    """One section's numbers, and how long they took."""
    start = time.process_time()
    with tqdm(desc=name, position=position, leave=False, unit="batch") as bar:
        rows = rounded(SECTIONS[name].measure(n, bar))
    return {"n": n, "seconds": round(time.process_time() - start), "rows": rows.to_dict("records")}


def measure_missing(data: Data, names: Sequence[str], n: int, n_workers: int, file: Path) -> None:
    """Measure sections into the data, and keep each as soon as it is there."""
    if n_workers == 1:
        for name in names:
            data[name] = measure(name, n)
            keep(data, file)
        return
    context = multiprocessing.get_context("spawn")
    lock = context.RLock()
    tqdm.set_lock(lock)
    with ProcessPoolExecutor(n_workers, context, _begin, (lock,)) as pool:
        running = {pool.submit(measure, name, n, place): name for place, name in enumerate(names)}
        for done in as_completed(running):
            data[running[done]] = done.result()
            keep(data, file)


def _begin(lock: Any) -> None:
    tqdm.set_lock(lock)
    torch.set_num_threads(1)


def keep(data: Data, file: Path) -> None:
    """Write the numbers, one row a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in (name for name in SECTIONS if name in data):
        rows = ",\n".join("   " + json.dumps(row) for row in data[name]["rows"])
        head = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in data[name].items() if key != "rows")
        sections.append(f' "{name}": {{{head}, "rows": [\n{rows}\n ]}}')
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")
    unfinished.replace(file)


def kept(file: Path) -> Data:
    """The numbers of an earlier run; none where there was none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def rows_of(data: Data, name: str) -> pd.DataFrame:
    """A section's numbers as a tidy frame."""
    return pd.DataFrame(data[name]["rows"])


def render(data: Data) -> str:
    """The page."""
    parts = [OPENING]
    for name, section in SECTIONS.items():
        question, rest = section.text(rows_of(data, name)).split("\n\n", 1)
        picture = f"![{section.TITLE}](images/see_{name}.png)"
        parts.append(f"## {section.TITLE}\n\n{question}\n\n{picture}\n\n{rest}")
    each = ", ".join(f"{name} {data[name]['seconds']} s" for name in SECTIONS)
    minutes = sum(data[name]["seconds"] for name in SECTIONS) / 60
    return "\n".join([*parts, CLOSING.format(minutes=minutes, each=each)])


def draw(data: Data, browser: str, folder: Path) -> None:
    """The figures, as PNG."""
    figures = [json.loads(section.figure(rows_of(data, name)).to_json()) for name, section in SECTIONS.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(SECTIONS, still_pictures(figures, browser), strict=True):
        (folder / f"see_{name}.png").write_bytes(base64.b64decode(picture))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m docs.make_what_you_can_see", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=N, help="scenes or questions a section, at least 2")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the page")
    parser.add_argument("--again", nargs="+", default=[], choices=[*SECTIONS, "all"], help="measure again")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--no-figures", action="store_true", help="leave the figures as they are")
    given = parser.parse_args(arguments)
    file = given.out / "data" / "what_you_can_see.json"
    data = kept(file)
    missing = [
        name for name in SECTIONS if name not in data or data[name]["n"] != given.n or {name, "all"} & set(given.again)
    ]
    longest_first = sorted(missing, key=["knockout", "ablation", "reprompting", "attention", "lens", "focus"].index)
    measure_missing(data, longest_first, given.n, given.workers, file)
    (given.out / "what_you_can_see.md").write_text(render(data), encoding="utf-8")
    if given.no_figures:
        return
    if BROWSER is None:
        sys.stderr.write("No chromium here: the figures stay as they are.\n")
        return
    draw(data, BROWSER, given.out / "images")


if __name__ == "__main__":
    main()

"""docs/experiments.md, made of the summaries alone."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from docs.reproduced.runs import RUNS, Reproduced
from vlm_lens.experiments import experiment_named
from vlm_lens.experiments.experiment import Experiment

Data = dict[str, dict[str, Any]]
"""For each experiment what was found: `summary.json`, with `seconds`, `layouts` and `figures` beside it."""

AGREES = {True: "agrees", False: "**does not agree**", None: "cannot be said"}

OPENING = """\
# Experiments

Every table and figure of three papers, as a named experiment that runs on any model and any data of the right kind:

- part identification, Takishita et al. 2025, "LLMs Can Compensate for Deficiencies in Visual Representations";
- visual information processing, Neo et al. 2024, "Towards Interpreting Visual Information Processing in
  Vision-Language Models";
- information flow, Kaduri et al. 2025, "What's in the Image? A Deep-Dive into the Vision of Vision Language Models".

Below, each is run on the bundled model (6 decoder layers, 6 layers of the tower, 144 patches; its
[model card](../vlm_lens/demo/MODEL_CARD.md)) and on scenes that it never saw. `make reproduce` runs them all and writes
this page; the numbers are also in [data/experiments.json](data/experiments.json). A model of a few million parameters,
trained on drawings, is no LLaVA: where it does not show what a paper found, that is said, and is no word against the
paper. With a checkpoint and data of your own the commands are the same, with `--model` and `--data`.

```python
from vlm_lens.experiments import ExperimentResult, experiments, run_experiment

found = run_experiment("attention-blocking", "demo", "scenes,n=6,surfaces=true", shows_progress=False)
found.summary()                     # the paper's table, with intervals over pictures
found.to_dataframe()                # the same as tidy rows; found.rows has those of single pictures
found.plot()
found.findings                      # the paper's claims, and whether they hold here
```

With `out="runs/blocking"`, or `--out` on the command line, a run is a folder: `spec.json` (model with the hash of its
weights, data, options, versions, seed), rows in Parquet, one shard after another, `summary.json`, figures as HTML.
Killed at any moment it goes on where it stood and finds the same; `ExperimentResult.load("runs/blocking")` reads it
back. A folder of another run is refused, with what differs. `--workers` takes several processes, on a GPU each where
there are GPUs. An engine of your own is a function that calls `run_shard(spec, shard, folder)` for each shard,
anywhere, in any order: see `vlm_lens/experiments/runs/engines.py`.

`--preset paper` does what was published, quirks included; the default asks the same question with them mended. Each
quirk stands under its experiment. Intervals are 95%, from a bootstrap over pictures (2,000 draws, scipy); where all
pictures agree, Wilson's.

## What agrees

{overview}
"""

CLOSING = """\
## What it took

{minutes:.0f} minutes in all, one run after another on one thread of a CPU; `make reproduce` has two of them at a time.
In seconds: {each}.
"""


def rendered(data: Data) -> str:
    """The page."""
    chosen = [one for one in RUNS if one.experiment in data]
    sections = [_section(one, data[one.experiment]) for one in chosen]
    each = ", ".join(f"{one.experiment} {data[one.experiment]['seconds']:.0f}" for one in chosen)
    total = sum(data[one.experiment]["seconds"] for one in chosen)
    opening = OPENING.format(overview=_overview(chosen, data))
    return "\n".join([opening, *sections, CLOSING.format(minutes=total / 60, each=each)])


def _overview(chosen: list[Reproduced], data: Data) -> str:
    lines = ["| claim | here | experiment |", "|---|---|---|"]
    for one in chosen:
        link = f"[{one.experiment}](#{one.experiment})"
        for finding in data[one.experiment]["findings"]:
            lines.append(f"| {_cell(finding['claim'])} | {AGREES[finding['agrees']]} | {link} |")
    return "\n".join(lines)


def _section(run: Reproduced, found: Mapping[str, Any]) -> str:
    experiment = experiment_named(run.experiment)
    parts = [
        f"## {run.experiment}",
        f"{experiment.question} {experiment.paper}: {experiment.figures}. Needs {experiment.needs}.",
        f"```\n{run.command}\n```",
        *([run.told] if run.told else []),
    ]
    for name in found["figures"]:
        parts.append(f"![{run.experiment}: {name}](images/{picture_of(run.experiment, name)})")
    for table in found["layouts"]:
        parts.append(f"{table['caption']}\n\n{_markdown(table)}")
    if found["findings"]:
        told = [f"- {one['claim']} Here it **{_verb(one['agrees'])}**. {one['told']}" for one in found["findings"]]
        parts.append("\n".join(told))
    notes = [*found["notes"], *([found["compared"]] if found.get("compared") else [])]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    parts.append(_options(experiment))
    return "\n\n".join(parts) + "\n"


def _verb(agrees: bool | None) -> str:
    return {True: "agrees", False: "does not agree", None: "cannot be said"}[agrees]


def _options(experiment: Experiment) -> str:
    """Every option with the default, and what the paper's preset takes where that is something else."""
    lines = ["| option | default | `paper` | what it is |", "|---|---|---|---|"]
    for option in fields(experiment.Options):
        told = option.metadata
        paper = f"`{_value(told['paper'])}`" if told["quirk"] else ""
        text = told["told"] + (f". {told['quirk']}" if told["quirk"] else "")
        lines.append(f"| `{option.name}` | `{_value(option.default)}` | {paper} | {_cell(text)} |")
    return "\n".join(lines)


def _value(value: Any) -> str:
    told = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return (told or '""').replace("|", "\\|").replace("\n", "\\n")


def _markdown(table: Mapping[str, Any]) -> str:
    rows = ["| " + " | ".join(map(_cell, table["heads"])) + " |", "|" + "---|" * len(table["heads"])]
    rows += ["| " + " | ".join(map(_cell, row)) + " |" for row in table["rows"]]
    return "\n".join(rows)


def layout_of(name: str, caption: str, layout: pd.DataFrame) -> dict[str, Any]:
    """A table in the paper's layout, as JSON."""
    levels = layout.columns.nlevels
    heads = [" ".join(map(str, head)) if levels > 1 else str(head) for head in layout.columns]
    index = [str(one or "") for one in layout.index.names]
    rows = [
        [*map(str, key if isinstance(key, tuple) else (key,)), *map(str, row)]
        for key, row in zip(layout.index, layout.itertuples(index=False, name=None), strict=True)
    ]
    return {"name": name, "caption": caption, "heads": [*index, *heads], "rows": rows}


def picture_of(experiment: str, figure: str) -> str:
    """The file of a figure."""
    return f"experiment_{experiment}_{figure}".replace(" ", "_").replace("/", "_").lower() + ".png"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")

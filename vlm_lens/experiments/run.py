"""An experiment from one call: planned, run in shards, resumed, summed up."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vlm_lens.data import Dataset, open_data
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.errors import InputError
from vlm_lens.estimates.identity import hash_of, name_of, preprocessing_of
from vlm_lens.experiments.against_the_loop import against_the_loop
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.registry import experiment_named
from vlm_lens.experiments.result import ExperimentResult, kept_comparison
from vlm_lens.experiments.runs.engines import Engine, Workers, in_turn
from vlm_lens.experiments.runs.folder import RunFolder
from vlm_lens.experiments.runs.shard import holding
from vlm_lens.experiments.runs.sources import ModelSource
from vlm_lens.experiments.runs.spec import RunSpec, versions
from vlm_lens.hooked_vlm import HookedVLM

IN_MEMORY = "in memory"


def run_experiment(
    name: str,
    model: HookedVLM | ModelSource | str = "demo",
    data: Dataset | str = "scenes",
    *,
    out: str | Path | None = None,
    preset: str = "default",
    limit: int | None = None,
    seed: int = 0,
    workers: int = 1,
    engine: Engine | None = None,
    compares: bool = False,
    shows_progress: bool = True,
    **options: Any,
) -> ExperimentResult:
    """A paper's table or figure, on a model and data.

    With `out` it is kept as it goes: killed at any moment, the same call goes on where it stood and finds the same. It
    is read back with `ExperimentResult.load(out)`.

    Args:
        name: of the experiment; `experiments()` has them all.
        model: a loaded model, or where to load one from.
        data: a dataset, or one line such as "coco:/data/coco,split=val2017" (see `vlm_lens.data.open_data`).
        out: the folder of the run; None keeps nothing.
        preset: "default", or "paper" for the published procedure with its quirks (docs/experiments.md lists them).
        limit: how many examples at most, the first ones.
        seed: of everything that is drawn by chance.
        workers: processes, each with a model of its own, on a GPU each where there are GPUs.
        engine: who runs the shards, in the place of `workers`.
        compares: whether the first example's sweep is held against the plain loop, and both are timed; once for
            a folder.
        shows_progress: a bar over the examples, with rate and time left.
        options: of the experiment, in the place of the preset's.

    Raises:
        InputError: an experiment, option or preset that does not exist, data that cannot be read, of which nothing is
            left, or with two pictures of one id, a folder of another run or one that is running, a full disk.

    Example:
        >>> found = run_experiment("attention-blocking", data="scenes,n=4,surfaces=true", shows_progress=False)
        >>> list(found.summary().columns)[:2]
        ['early', 'early-mid']
    """
    experiment = experiment_named(name)
    chosen = experiment.Options.preset(preset).but(**options)
    is_here = isinstance(model, HookedVLM) or isinstance(data, Dataset)
    if (workers > 1 or engine is not None) and is_here:
        rule = "a model and data that each process can load: a checkpoint's folder or name, and data as one line"
        raise InputError("Workers", rule, "a model or data in memory", "Give model='folder' and data='coco:folder'.")
    if limit is not None and limit < 1:
        raise InputError("limit", "at least 1, or None for all", limit)
    read = data if isinstance(data, Dataset) else open_data(data)
    left = experiment.chosen(read, chosen).some()[:limit]
    _check_distinct(left)
    source = model if isinstance(model, ModelSource) else ModelSource(model if isinstance(model, str) else IN_MEMORY)
    vlm = model if isinstance(model, HookedVLM) else source.load()
    with tempfile.TemporaryDirectory() as unkept:
        folder = RunFolder(unkept if out is None else out)
        context = Context(vlm, left, chosen, seed, folder.shared, shows_progress)
        spec = RunSpec(
            name,
            preset,
            chosen.to_dict(),
            seed,
            limit,
            experiment.shard_size,
            {**vars(source), "name": name_of(vlm), "hash": hash_of(vlm), "preprocessing": preprocessing_of(vlm)},
            {
                "source": IN_MEMORY if isinstance(data, Dataset) else data,
                "name": left.name,
                "fingerprint": left.fingerprint,
                "examples": fingerprint_of([example.id for example in left]),
                "n": len(left),
                "steps": [[step.name, step.n_before, step.n_after] for step in left.steps],
            },
            dict(experiment.facts(context)),
            dict(versions()),
        )
        with folder.held(spec), holding(spec, context):
            experiment.prepare(context)
            runs = engine or (in_turn if workers == 1 else Workers(workers))
            compared = kept_comparison(folder)
            if compares and compared is None:
                compared = against_the_loop(experiment, context)
            _run_missing(spec, folder, runs, shows_progress)
            result = ExperimentResult(
                spec, folder.read_rows(spec), None if out is None else folder.path, compared, context.costs
            )
            if out is not None:
                result.write(folder)
    return result


def _check_distinct(data: Dataset) -> None:
    """Refuse pictures of one id: rows are paired, and intervals drawn, by it."""
    repeated, n = Counter(example.id for example in data).most_common(1)[0]
    if n > 1:
        rule, advice = "an id of its own for each picture", "Name pictures by another column, or by none."
        raise InputError(f"Dataset {data.name}", rule, f"{repeated!r} {n} times", advice)


def _run_missing(spec: RunSpec, folder: RunFolder, engine: Engine, shows_progress: bool) -> None:
    missing = folder.missing(spec)
    total = int(spec.data["n"])
    done = total - sum(len(spec.examples_of(shard)) for shard in missing)
    with tqdm(
        desc=spec.experiment, total=total, initial=done, unit="example", disable=not shows_progress, smoothing=0.05
    ) as bar:
        for n_examples in engine(spec, missing, folder.path):
            bar.update(n_examples)

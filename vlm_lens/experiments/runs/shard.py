"""The unit of work: the rows of one shard, made by any process that knows the specification.

`run_shard(spec, shard, folder)` is all that an engine needs to call: it loads the model and the data of the
specification (once in a process), makes the rows, and writes them in one step. Called twice, it writes once.
"""

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlm_lens.data import Example
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.open import open_data
from vlm_lens.errors import InputError
from vlm_lens.estimates.identity import hash_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment
from vlm_lens.experiments.registry import experiment_named
from vlm_lens.experiments.runs.folder import RunFolder
from vlm_lens.experiments.runs.spec import RunSpec

MOST_MEMORY, LEAST_MEMORY = 2 << 30, 32 << 20
"""Bytes that a sweep is given when memory first runs out, and the fewest."""

_contexts: dict[tuple[str, Path, str | None], Context] = {}


def run_shard(spec: RunSpec, shard: int, folder: str | Path, device: str | None = None) -> int:
    """Make and write the rows of a shard; nothing where they are there.

    Args:
        spec: what the run is of.
        shard: its number.
        folder: the run's folder.
        device: where to run, where that is not what the specification says.

    Returns:
        How many examples it has.

    Raises:
        InputError: another model or data than the specification's, or a folder that cannot be written.
    """
    found = RunFolder(folder)
    numbers = spec.examples_of(shard)
    if not found.has(shard):
        context = context_of(spec, found.shared, device)
        experiment = experiment_named(spec.experiment)
        found.write_shard(shard, rows_of(experiment, context, [context.data[number] for number in numbers]))
    return len(numbers)


def context_of(spec: RunSpec, shared: Path, device: str | None = None) -> Context:
    """The model and data of a specification, loaded once in a process.

    Raises:
        InputError: what is found is not what the specification was made of.
    """
    key = spec.fingerprint, shared, device
    if key not in _contexts:
        experiment = experiment_named(spec.experiment)
        options = experiment.Options().but(**spec.options)
        data = experiment.chosen(open_data(str(spec.data["source"])), options)[: spec.limit]
        _check_is("Data", spec.data["fingerprint"], data.fingerprint)
        _check_is("Choice of examples", spec.data["examples"], fingerprint_of([one.id for one in data]))
        vlm = spec.source.on(device).load()
        _check_is("Model", spec.model["hash"], hash_of(vlm))
        _contexts.clear()  # one model in memory
        _contexts[key] = Context(vlm, data, options, spec.seed, shared, shows_progress=False)
    return _contexts[key]


def _check_is(what: str, wanted: object, got: object) -> None:
    if wanted != got:
        raise InputError(f"{what} of the run", f"what it began with ({wanted})", got, "Begin a new folder.")


@contextmanager
def holding(spec: RunSpec, context: Context) -> Iterator[None]:
    """Let this process run shards of a specification with what is in memory already, and let go of it afterwards."""
    _contexts.clear()
    _contexts[spec.fingerprint, context.folder, None] = context
    try:
        yield
    finally:
        _contexts.clear()  # or the model would stay in memory for as long as the process lives


def rows_of(experiment: Experiment, context: Context, examples: Sequence[Example]) -> Mapping[str, list[Any]]:
    """The rows of some examples; where memory runs out, of half as many at a time, then in smaller sweeps.

    A warning says so each time.

    Raises:
        InputError: a single example needs more memory than there is.
    """
    try:
        return {name: list(rows) for name, rows in experiment.rows(context, examples).items()}
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(examples) == 1 and not _can_shrink(context):
            advice = "Load it in half precision, on a larger device, or spread it with device='auto'."
            raise InputError(f"Example {examples[0].id!r}", "as much memory as it needs", str(error), advice) from error
        told = str(error).split("\n")[0]
    # Outside of the except block: the error holds the frames, and they hold the tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(examples) == 1:
        less = (context.memory or MOST_MEMORY) // 2
        warnings.warn(f"Out of memory with one example ({told}); a sweep now takes {less >> 20} MiB.", stacklevel=2)
        return rows_of(experiment, replace(context, memory=less), examples)
    half = len(examples) // 2
    warnings.warn(f"Out of memory with {len(examples)} examples ({told}); going on with {half}.", stacklevel=2)
    first, second = (rows_of(experiment, context, part) for part in (examples[:half], examples[half:]))
    return {name: [*first.get(name, ()), *second.get(name, ())] for name in {**first, **second}}


def _can_shrink(context: Context) -> bool:
    """Whether a sweep can be given half of the memory it has."""
    return (context.memory or MOST_MEMORY) // 2 >= LEAST_MEMORY


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU (where torch raises a RuntimeError)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "not enough memory" in str(error) or "can't allocate memory" in str(error)

"""The tasks by name, in the order of the tables."""

from collections.abc import Callable

from benchmarks.sizes import Sizes
from benchmarks.tasks.ablations import mean_ablation, mean_ablation_answers
from benchmarks.tasks.generations import generation, generation_blocked
from benchmarks.tasks.knockouts import blocking_table, knockout, sweep_to_last, sweep_to_text
from benchmarks.tasks.lens import logit_lens
from benchmarks.tasks.parts import part_identification
from benchmarks.tasks.plain import forward, full_cache, residual_cache
from benchmarks.tasks.task import Task

TASKS: dict[str, Callable[[Sizes], Task]] = {
    "forward": forward,
    "residual-cache": residual_cache,
    "full-cache": full_cache,
    "knockout": knockout,
    "sweep-to-last": sweep_to_last,
    "sweep-to-text": sweep_to_text,
    "blocking-table": blocking_table,
    "mean-ablation": mean_ablation,
    "mean-ablation-answers": mean_ablation_answers,
    "part-identification": part_identification,
    "generation": generation,
    "generation-blocked": generation_blocked,
    "logit-lens": logit_lens,
}

__all__ = ["TASKS", "Task"]

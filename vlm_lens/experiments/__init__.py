"""The papers' tables and figures: data x conditions x metric, as tidy rows."""

from vlm_lens.experiments.registry import add_experiment, experiment_named, experiments
from vlm_lens.experiments.result import ExperimentResult
from vlm_lens.experiments.run import run_experiment
from vlm_lens.experiments.runs.sources import ModelSource
from vlm_lens.experiments.summary import Finding, Summary

__all__ = [
    "ExperimentResult",
    "Finding",
    "ModelSource",
    "Summary",
    "add_experiment",
    "experiment_named",
    "experiments",
    "run_experiment",
]

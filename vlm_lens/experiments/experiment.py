"""An experiment: which examples, which rows of each, and what is made of all rows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.grid import Grid
from vlm_lens.experiments.options import Options
from vlm_lens.experiments.summary import Summary

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""For each table its rows. A row is flat: numbers, texts, truth values, None."""

__all__ = ["Experiment", "Grid", "Rows"]


class Experiment(ABC):
    """A table or figure of a paper, on any model and any data of the right kind.

    To add one: a folder beside the others with a subclass, and its name in `registry.py`.

    Attributes:
        name: what it is called on the command line.
        paper: whose it is: "Neo et al. 2024".
        figures: "Table 2, figure 8".
        question: what it asks, in a sentence.
        needs: which data it can use: "pictures with masks and a question".
        Options: its options, a subclass of `Options`.
        shard_size: examples in a shard: what is lost at most when a run is killed.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    figures: ClassVar[str]
    question: ClassVar[str]
    needs: ClassVar[str]
    Options: ClassVar[type[Options]]
    shard_size: ClassVar[int] = 8

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The examples that can be used, by filters that need no model; each filter is counted in `steps`."""
        return data

    def facts(self, context: Context) -> Mapping[str, Any]:
        """What the summary must know of the model beside the rows: `{"n_layers": 32}`; JSON."""
        return {"n_layers": context.vlm.cfg.n_layers}

    def prepare(self, context: Context) -> None:
        """Write to `context.folder` what all shards share; called once before the first, again when a run goes on."""
        return None

    def grid(self, context: Context, example: Example) -> Grid | None:
        """The conditions that an example is run under, of experiments whose rows come from one sweep.

        It is what `rows` runs, and what a run holds against the plain loop on its first example.
        """
        return None

    @abstractmethod
    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """The rows of some examples, each with the column `example` (its id).

        They depend on nothing but the examples, the context's model, options and seed: not on the shard, not on what
        ran before. An example that a filter with the model drops has a row that says so.
        """

    @abstractmethod
    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Tables in the paper's layout, figures, and what agrees with the paper; needs no model.

        Raises:
            InputError: nothing is left of the examples, with what each filter took.
        """

"""What a sweep gives back: a cell for each condition, as tables and figures."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.errors import HookError, InputError
from vlm_lens.plotting.sweep_figures import sweep_heatmap, sweep_lines
from vlm_lens.probes.patching.answer_metrics import AnswerMetric
from vlm_lens.sweeps.cell import Cell
from vlm_lens.sweeps.conditions import Condition, label_of
from vlm_lens.sweeps.plan import MOST_LINES, SweepPlan

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ANSWER = "probability of the clean answer"
"""Of the token that the clean run finds most probable there."""
DIVERGENCE = "KL from clean"
"""Kullback-Leibler divergence in nats: what the clean run's next token tells against this condition's, KL(clean || it).
Zero where nothing changed, whichever token was the answer."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The cells of a sweep: by name, by number, or by their place in a grid.

    Attributes:
        cells: one for each condition, in order.
        clean: what the run gave that nothing was done to.
        plan: what was computed for each.
        token_names: what a token is called.
        axes: the labels of each axis of a grid; empty for a list of conditions.
        positions: of the logits, where others than the last were asked for; () otherwise.
        is_read: in which rows of the batch these positions were asked for.
    """

    cells: tuple[Cell, ...]
    clean: Cell
    plan: SweepPlan
    token_names: Any = field(repr=False)
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    positions: tuple[int, ...] = ()
    is_read: Bool[np.ndarray, "batch pos"] | None = field(default=None, repr=False)

    def __getitem__(self, name: Any) -> Cell:
        """A condition's cell, by its name, its number, or the condition itself.

        Raises:
            InputError: for one that does not exist.
        """
        if isinstance(name, Integral) and not isinstance(name, bool) and -len(self) <= int(name) < len(self):
            return self.cells[int(name)]
        name = name.name if isinstance(name, Condition) else name
        if not isinstance(name, str) or name not in self._by_name:
            known = ", ".join(map(repr, list(self._by_name)[:8])) + (", ..." if len(self) > 8 else "")
            advice = "The run that nothing is done to is results.clean." if name == self.clean.name else ""
            rule = f"a number below {len(self)}, or one of {known}"
            raise InputError("Cell does not exist", rule, repr(name), advice)
        return self._by_name[name]

    def at(self, **axes: Any) -> Cell:
        """The cell at a place of the grid: `results.at(window="early", source="object")`.

        Args:
            axes: for each axis the label, or a value that was given without one.

        Raises:
            InputError: another axis or label.
        """
        wanted = {name: label_of(label) for name, label in axes.items()}
        for one in self.cells:
            if self.axes and dict(one.condition.axes) == wanted:
                return one
        known = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in self.axes.items())
        advice = "" if known else "Cells of a list go by their name or number: results[0]."
        raise InputError("Cell does not exist", known or "a sweep over a Grid", f"at({_written(axes)})", advice)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def logits(self) -> Float[Tensor, "condition ..."]:
        """The logits of all cells, in order.

        Raises:
            InputError: none were read.
        """
        found = [one.logits for one in self.cells]
        if any(one is None for one in found):
            raise InputError("Logits of a sweep", "a sweep with read='logits'", "another reading")
        return torch.stack([one for one in found if one is not None])

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions' names."""
        return tuple(one.name for one in self.cells)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The numbers that there are of each cell."""
        return tuple(self._numbers(self.clean))

    def values(self, metric: str | AnswerMetric | None = None) -> Float[np.ndarray, "..."]:
        """A metric's numbers in the grid's shape: `[*axes batch]`, or `[*axes batch pos]` of logits at positions.

        Args:
            metric: what was read, such as `Probability(" Yes")`, or one of `metric_names`; None for the first.

        Raises:
            InputError: for another name, or where nothing that was read is a number.
        """
        name = self._metric(metric)
        found = np.stack([self._numbers(one)[name] for one in self.cells])
        shape = [len(labels) for labels in self.axes.values()] or [len(self.cells)]
        return found.reshape(*shape, *found.shape[1:])

    def to_dataframe(self, probe: Attachment | None = None, **options: Any) -> "pd.DataFrame":
        """One line for each condition and row of the batch (and position, where logits were read at several).

        Beside each number stands the clean run's; `KL from clean` is in nats, and 0 for the clean run.

        Args:
            probe: gives its tables instead, one below the other, of the conditions that it was attached to.
            options: of each of these tables, such as `of="targets"` of a lens.

        Raises:
            HookError: a probe that was attached to none, or whose results are no tables.
        """
        import pandas as pd

        if probe is not None:
            return pd.concat(self._tables(probe, options), ignore_index=True)
        return pd.DataFrame([line for one in self.cells for line in self._lines(one)])

    def plot(self, metric: str | AnswerMetric | None = None, row: int = 0, position: int | None = None) -> "go.Figure":
        """One number of each cell: a line, or a heat map for a grid with several axes.

        Axes with a single value are left out. Of three axes and more, the last stands across, the others downwards.

        Args:
            metric: what was read, such as `Probability(" Yes")`, or one of `metric_names`; None for the first.
            row: which row of the batch.
            position: which of `positions`, where logits were read at several; None for the last.

        Raises:
            InputError: for a metric, row or position that there is not.
        """
        name = self._metric(metric)
        at = self._at(name, row, position)
        values = np.array([self._numbers(one)[name][at] for one in self.cells])
        clean = float(self._numbers(self.clean)[name][at])
        axes = {axis: labels for axis, labels in self.axes.items() if len(labels) > 1}
        if not axes:
            return sweep_lines({name: values}, self.names, clean=clean, title=name, is_ordered=False)
        if len(axes) == 1:
            ((axis, labels),) = axes.items()
            is_ordered = all(isinstance(_as_number(label), int) for label in labels)
            return sweep_lines({name: values}, labels, axis=axis, clean=clean, title=name, is_ordered=is_ordered)
        *down, (across, columns) = axes.items()
        rows = [" · ".join(labels) for labels in _products([labels for _, labels in down])]
        return sweep_heatmap(
            values.reshape(len(rows), len(columns)), rows, columns, row_axis=" · ".join(axis for axis, _ in down),
            column_axis=across, clean=clean, title=name,
        )  # fmt: skip

    @cached_property
    def _by_name(self) -> dict[str, Cell]:
        return {one.name: one for one in self.cells}

    def _metric(self, metric: str | AnswerMetric | None) -> str:
        metric = repr(metric) if isinstance(metric, AnswerMetric) else metric
        names = self.metric_names
        if not names:
            advice = "Probes' results have figures of their own: results[0][probe].plot()."
            rule = "a sweep that reads them: read='logits', or Probability(' Yes')"
            raise InputError("Numbers of a sweep", rule, "probes or text alone", advice)
        if metric is not None and metric not in names:
            raise InputError("Metric of a sweep", f"one of {', '.join(map(repr, names))}", repr(metric))
        return names[0] if metric is None else metric

    def _at(self, name: str, row: int, position: int | None) -> tuple[int, ...]:
        """Where a row of the batch, and a position, stand among a cell's numbers."""
        n_rows, *n_positions = self._numbers(self.clean)[name].shape
        if not 0 <= row < n_rows:
            raise InputError("Row of a sweep", f"0 to {n_rows - 1}", row)
        if not n_positions:
            return (row,)
        if position is not None and position not in self.positions:
            raise InputError("Position of a sweep", f"one of {list(self.positions)}", position)
        return row, self.positions.index(self.positions[-1] if position is None else position)

    def _lines(self, one: Cell) -> Iterator[dict[str, Any]]:
        """The lines of a cell."""
        clean, numbers, answers = self._numbers(self.clean), self._numbers(one), self._answers(one)
        for row, place in self._places(one):
            line: dict[str, Any] = {"row": row}
            line |= {"position": self.positions[place]} if self.positions else {}
            at = (row, place) if self.positions else (row,)
            for name, values in numbers.items():
                where = at[: values.ndim]
                line[name] = float(values[where])
                if name != DIVERGENCE:
                    line[f"clean {name}"] = float(clean[name][where])
            if one.generation is not None:
                line["text"] = one.generation.texts[row] if one.generation.texts else ""
            line |= {} if answers is None else {"answer": self.token_names(int(answers[at]))}
            yield _place(one, line) | line

    def _tables(self, probe: Attachment, options: Mapping[str, Any]) -> "list[pd.DataFrame]":
        """What a probe found under each condition, with the condition in front."""
        tables = []
        for one in self.cells:
            if any(probe is attached for attached in one.session.objects):
                found = one[probe]
                if not hasattr(found, "to_dataframe"):
                    rule, advice = "a probe whose results are tables", "Each is results[name][probe]."
                    raise HookError("Table of a probe", rule, f"{probe!r}, with {type(found).__name__}", advice)
                table = found.to_dataframe(**options)
                for number, (name, value) in enumerate(_place(one, table).items()):
                    table.insert(number, name, value)
                tables.append(table)
        if not tables:
            advice = "Keep the object itself."
            raise HookError("Table of a probe", "one that was attached to a condition", repr(probe), advice)
        return tables

    def _places(self, one: Cell) -> Iterator[tuple[int, int]]:
        """The rows of the batch, and in each which of the positions were asked for."""
        for row in range(self._n_rows(one)):
            for place in range(max(1, len(self.positions))):
                if self.is_read is None or self.is_read[row, place]:
                    yield row, place

    def _n_rows(self, one: Cell) -> int:
        if one.generation is not None:
            return len(one.generation.tokens)
        if one.logits is not None:
            return len(one.logits)
        return len(next(iter(one.values.values()))) if one.values else 1

    @cached_property
    def _clean_log_probabilities(self) -> Float[Tensor, "..."] | None:
        return None if self.clean.logits is None else self.clean.logits.double().log_softmax(dim=-1)

    @cached_property
    def _found(self) -> dict[str, dict[str, Float[np.ndarray, "..."]]]:
        """The numbers of cells that were asked for before."""
        return {}

    def _numbers(self, one: Cell) -> dict[str, Float[np.ndarray, "..."]]:
        """The numbers of a cell: its metrics, and what the logits say of the clean answer."""
        if one.name in self._found:
            return self._found[one.name]
        numbers: dict[str, np.ndarray] = {name: value.double().numpy() for name, value in one.values.items()}
        clean = self._clean_log_probabilities
        if one.logits is not None and clean is not None:
            mine = one.logits.double().log_softmax(dim=-1)
            numbers[ANSWER] = mine.gather(-1, clean.argmax(dim=-1, keepdim=True))[..., 0].exp().numpy()
            told = torch.where(clean.isneginf(), 0.0, clean.exp() * (clean - mine))
            numbers[DIVERGENCE] = told.sum(dim=-1).clamp_min(0).numpy()
        self._found[one.name] = numbers
        return numbers

    def _answers(self, one: Cell) -> Tensor | None:
        return None if one.logits is None else one.logits.argmax(dim=-1)

    def __repr__(self) -> str:
        kept = ", ".join((*self.metric_names, *(["text"] if self.clean.generation is not None else []))) or "probes"
        return f"SweepResult({self.plan.summary}; {kept})"

    def _repr_html_(self) -> str:
        table: str = self.to_dataframe().to_html(
            index=False, max_rows=MOST_LINES, float_format=lambda value: f"{value:.4g}"
        )
        return f"<b>Sweep</b>: {escape(self.plan.summary)}{table}"


def _written(axes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={label!r}" for name, label in axes.items())


def _place(one: Cell, columns: Container[str]) -> dict[str, Any]:
    """A condition's name and its place in the grid, beside other columns of a table, which keep their names."""
    place: dict[str, Any] = {"condition": one.name}
    for axis, label in one.condition.axes.items():
        is_taken = axis in columns or axis in place
        place[f"{axis} of the grid" if is_taken else axis] = _as_number(label)
    return place


def _as_number(label: str) -> Any:
    """A label that is a whole number as such, so that tables can be sorted and drawn by it."""
    return int(label) if label.isdecimal() and str(int(label)) == label else label


def _products(axes: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Every combination of some labels, the last axis fastest."""
    return list(product(*axes))

"""What a sweep gives back: a cell for each condition, as tables and figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.attachments.running.session import Session
from vlm_lens.errors import InputError
from vlm_lens.plotting.sweep_figures import sweep_heatmap, sweep_lines
from vlm_lens.sweeps.conditions import Condition
from vlm_lens.sweeps.plan import SweepPlan

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Cell:
    """What one condition gave.

    Attributes:
        condition: what was attached.
        logits: `[batch d_vocab]` at the last prompt position, or `[batch pos d_vocab]` where others were asked for;
            None where none were. On the CPU.
        values: what each metric says, row by row.
        generation: what was generated; None where nothing was to be.
        session: what was attached, with what probes found.
    """

    condition: Condition
    logits: Float[Tensor, "..."] | None
    values: Mapping[str, Float[Tensor, " batch"]]
    generation: GeneratedRun | None
    session: Session = field(repr=False)

    @property
    def name(self) -> str:
        """The condition's name."""
        return self.condition.name

    @property
    def text(self) -> str:
        """What was generated, for a batch of one.

        Raises:
            InputError: nothing was, or several rows.
        """
        if self.generation is None:
            raise InputError("text of a cell", "a sweep with read=Generated(...)", "none was generated")
        return self.generation.text

    def __getitem__(self, probe: Attachment) -> Any:
        """What a probe found under this condition.

        Raises:
            HookError: for an object that was not attached, or that reads nothing.
        """
        return self.session[probe] if self.generation is None else self.generation[probe]

    def __repr__(self) -> str:
        shown = [f"{name}={value.tolist()}" for name, value in self.values.items()]
        if self.logits is not None:
            shown.append(f"logits {list(self.logits.shape)}")
        if self.generation is not None:
            shown.append(repr(self.generation.texts[0]))
        return f"Cell({self.name!r}, {', '.join(shown) or 'probes alone'})"


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The cells of a sweep: by name, by number, or by their place in a grid.

    Attributes:
        cells: one for each condition, in order.
        clean: what the run gave that nothing was done to.
        plan: what was computed for each.
        token_names: what a token is called.
        axes: the labels of each axis of a grid; empty for a list of conditions.
        run_in: the conditions of each axis in order, for arrays.
    """

    cells: tuple[Cell, ...]
    clean: Cell
    plan: SweepPlan
    token_names: Any = field(repr=False)
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str | int | Condition) -> Cell:
        """A condition's cell, by its name or number.

        Raises:
            InputError: for one that does not exist.
        """
        if isinstance(name, int) and not isinstance(name, bool) and -len(self.cells) <= name < len(self.cells):
            return self.cells[name]
        if name not in self._by_name:
            known = ", ".join(map(repr, list(self._by_name)[:8]))
            raise InputError("Cell does not exist", f"a number below {len(self.cells)}, or one of {known}", repr(name))
        return self._by_name[name]

    def at(self, **axes: Any) -> Cell:
        """The cell at a place of the grid: `results.at(window="early", source="object")`.

        Raises:
            InputError: another axis or label.
        """
        wanted = {name: str(label) for name, label in axes.items()}
        for one in self.cells:
            if dict(one.condition.axes) == wanted:
                return one
        known = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in self.axes.items()) or "no axes"
        raise InputError("Cell does not exist", known, wanted)

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
            raise InputError("Logits of a sweep", "read='logits'", "another reading")
        return torch.stack([one for one in found if one is not None])

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions' names."""
        return tuple(one.name for one in self.cells)

    def values(self, metric: str | None = None) -> Float[np.ndarray, "..."]:
        """A metric's numbers, in the grid's shape, with the batch as last axis: `[*axes batch]`.

        Args:
            metric: as `to_dataframe` calls it; None for the only one, or for the first that the logits give.
        """
        name = metric or self.metric_names[0]
        found = np.stack([self._numbers(one)[name] for one in self.cells])
        shape = [len(labels) for labels in self.axes.values()] or [len(self.cells)]
        return found.reshape(*shape, -1)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The numbers that there are of each cell."""
        return tuple(self._numbers(self.clean))

    def to_dataframe(self) -> "pd.DataFrame":
        """One row for each condition and row of the batch, with the clean run's number beside each."""
        import pandas as pd

        clean, rows = self._numbers(self.clean), []
        for one in self.cells:
            numbers = self._numbers(one)
            for row in range(self._n_rows(one)):
                line: dict[str, Any] = {"condition": one.name, **one.condition.axes, "row": row}
                for name, values in numbers.items():
                    line[name] = float(values[row])
                    if name not in ("change",):
                        line[f"clean {name}"] = float(clean[name][row])
                line |= self._words(one, row)
                rows.append(line)
        return pd.DataFrame(rows)

    def plot(self, metric: str | None = None, row: int = 0) -> "go.Figure":
        """One number of each cell: a heat map for a grid with two axes, a line otherwise.

        Args:
            metric: as `to_dataframe` calls it; None for the first.
            row: which row of the batch.
        """
        if not self.metric_names:
            rule = "a reading with numbers: read='logits' or Probability(' Yes')"
            raise InputError("Sweep cannot be drawn", rule, "probes or text", "Probes' results draw themselves.")
        name = metric or self.metric_names[0]
        clean = float(self._numbers(self.clean)[name][row])
        values = self.values(name)[..., row]
        if len(self.axes) == 2:
            (y, rows), (x, columns) = self.axes.items()
            return sweep_heatmap(values, rows, columns, row_axis=y, column_axis=x, clean=clean, title=name)
        labels = next(iter(self.axes.values())) if len(self.axes) == 1 else self.names
        axis = next(iter(self.axes)) if len(self.axes) == 1 else "condition"
        return sweep_lines({name: values.reshape(-1)}, labels, axis=axis, clean=clean, title=name)

    @cached_property
    def _by_name(self) -> dict[Any, Cell]:
        return {one.name: one for one in self.cells}

    def _n_rows(self, one: Cell) -> int:
        if one.generation is not None:
            return len(one.generation.tokens)
        if one.logits is not None:
            return len(one.logits)
        return len(next(iter(one.values.values()))) if one.values else 1

    def _numbers(self, one: Cell) -> dict[str, Float[np.ndarray, " batch"]]:
        """The numbers of a cell: its metrics, or what the logits say of the clean answer."""
        numbers = {name: value.double().numpy() for name, value in one.values.items()}
        if one.logits is not None and self.clean.logits is not None and one.logits.ndim == 2:
            clean, mine = (
                cell.logits.double().log_softmax(dim=-1) for cell in (self.clean, one) if cell.logits is not None
            )
            answer = clean.argmax(dim=-1, keepdim=True)
            numbers["probability of the clean answer"] = mine.gather(-1, answer)[:, 0].exp().numpy()
            numbers["change"] = (clean.exp() * (clean - mine)).sum(dim=-1).numpy()
        return numbers

    def _words(self, one: Cell, row: int) -> dict[str, str]:
        if one.generation is not None:
            return {"text": one.generation.texts[row] if one.generation.texts else ""}
        if one.logits is not None and one.logits.ndim == 2:
            return {"answer": self.token_names(int(one.logits[row].argmax()))}
        return {}

    def __repr__(self) -> str:
        return f"SweepResult({self.plan.summary})"

    def _repr_html_(self) -> str:
        table: str = self.to_dataframe().to_html(index=False, max_rows=40, float_format=lambda value: f"{value:.4g}")
        return f"<b>Sweep</b>: {self.plan.summary}{table}"

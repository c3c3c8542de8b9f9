"""What an experiment found: rows, tables in the paper's layout, figures, findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.against_the_loop import AgainstTheLoop
from vlm_lens.experiments.registry import experiment_named
from vlm_lens.experiments.runs.folder import RunFolder
from vlm_lens.experiments.runs.spec import RunSpec
from vlm_lens.experiments.summary import Finding, Summary, Table
from vlm_lens.plotting.figure_page import SCRIPT, figure_page, figure_script

if TYPE_CHECKING:
    import plotly.graph_objects as go


COMPARED = "against_the_loop.json"
AGREES = {True: "agrees", False: "does not agree", None: "cannot be said"}


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """What an experiment found.

    Attributes:
        spec: what it was run of.
        rows: for each table the rows of all examples.
        folder: where it is kept; None where it is not.
        compared: the first example's sweep against the plain loop, where that was asked for.
        costs: what this call spent on a judge or language model that is paid for; what workers spent is not in it.
    """

    spec: RunSpec
    rows: Mapping[str, pd.DataFrame] = field(repr=False)
    folder: Path | None = None
    compared: AgainstTheLoop | None = None
    costs: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: str | Path) -> "ExperimentResult":
        """A finished run, read from its folder; needs neither model nor data.

        Raises:
            InputError: there is no run, or shards are missing, with how many.
        """
        found = RunFolder(folder)
        spec = found.read_spec()
        if missing := found.missing(spec):
            got = f"{spec.n_shards - len(missing)} of {spec.n_shards} shards"
            raise InputError(f"Run in {folder}", "all shards", got, "Run the same command again: it goes on.")
        return cls(spec, found.read_rows(spec), Path(folder), kept_comparison(found))

    @cached_property
    def found(self) -> Summary:
        """Tables, figures and findings, worked out of the rows.

        Raises:
            InputError: nothing is left of the examples, with what each filter took.
        """
        experiment = experiment_named(self.spec.experiment)
        options = experiment.Options().but(**self.spec.options)
        return experiment.summarised(self.rows, options, self.spec.facts)

    def summary(self, table: str | None = None) -> pd.DataFrame:
        """A table in the paper's layout, with intervals over pictures.

        Args:
            table: its name, one of `tables`; None for the one that the paper is known for.
        """
        return self._table(table).layout

    def to_dataframe(self, table: str | None = None) -> pd.DataFrame:
        """A table's figures as tidy rows: `value`, `low`, `high`, `n`. The rows of single examples are in `rows`."""
        return self._table(table).tidy

    def plot(self, figure: str | None = None) -> "go.Figure":
        """A figure in the paper's layout.

        Args:
            figure: its name, one of `figures`; None for the one that the paper is known for.

        Raises:
            InputError: there is none of that name.
        """
        names = self.figures
        if not names or (figure is not None and figure not in names):
            raise InputError(f"Figure of {self.spec.experiment}", f"one of {', '.join(names) or 'none'}", repr(figure))
        return self.found.figures[names[0] if figure is None else figure]()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The paper's claims, and whether they hold here."""
        return self.found.findings

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self.found.tables)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures."""
        return tuple(self.found.figures)

    def to_dict(self) -> dict[str, Any]:
        """What `summary.json` holds: tables, findings, notes, and what it was run of."""
        found = self.found
        return {
            "experiment": self.spec.experiment,
            "preset": self.spec.preset,
            "data": dict(self.spec.data),
            "tables": {name: {"caption": one.caption, "rows": _plain(one.tidy)} for name, one in found.tables.items()},
            "findings": [{"claim": o.claim, "agrees": o.agrees, "told": o.told} for o in found.findings],
            "notes": list(found.notes),
        }

    def write(self, folder: RunFolder) -> None:
        """Write `summary.json` and the figures as HTML, with the script that draws them beside them."""
        folder.write_json("summary.json", self.to_dict())
        if self.compared is not None:
            folder.write_json(COMPARED, self.compared.to_dict())
        if self.figures and not (folder.path / "figures" / SCRIPT).is_file():
            folder.write(f"figures/{SCRIPT}", figure_script())
        for name in self.figures:
            file = f"figures/{name.replace(' ', '_')}.html"
            folder.write(file, figure_page(self.plot(name)))

    def told(self) -> str:
        """Everything as plain text: tables in the paper's layout, findings, notes."""
        found = self.found
        parts = [repr(self)]
        for name, table in found.tables.items():
            parts.append(f"{name}: {table.caption}\n{table.layout.to_string()}")
        parts += [f"{AGREES[one.agrees]}: {one.claim}\n  {one.told}" for one in found.findings]
        parts += [f"note: {note}" for note in found.notes]
        parts += [] if self.compared is None else [str(self.compared)]
        return "\n\n".join([*parts, *(f"spent by this call on the {one}" for one in self.costs)])

    def _table(self, name: str | None) -> Table:
        names = self.tables
        if name is not None and name not in names:
            raise InputError(f"Table of {self.spec.experiment}", f"one of {', '.join(names)}", repr(name))
        return self.found.tables[names[0] if name is None else name]

    def __repr__(self) -> str:
        kept = "" if self.folder is None else f", in {self.folder}"
        n = self.spec.data["n"]
        return f"ExperimentResult({self.spec.experiment}, {self.spec.preset} preset, {n} examples{kept})"

    def _repr_html_(self) -> str:
        parts = [f"<b>{escape(repr(self))}</b>"]
        for table in self.found.tables.values():
            parts.append(f"<p>{escape(table.caption)}</p>{table.layout.to_html()}")
        findings = "".join(
            f"<li>{escape(one.claim)} <b>{AGREES[one.agrees]}</b>: {escape(one.told)}</li>"
            for one in self.found.findings
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.found.notes)
        return "".join([*parts, f"<ul>{findings}</ul>", f"<ul>{notes}</ul>"])


def kept_comparison(folder: RunFolder) -> AgainstTheLoop | None:
    """What an earlier call held against the plain loop; None where none did."""
    kept = folder.read_json(COMPARED)
    return None if kept is None else AgainstTheLoop(**kept)


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them; NaN as null."""
    return [
        {
            str(key): None if pd.isna(value) else getattr(value, "item", lambda v=value: v)()
            for key, value in row.items()
        }
        for row in table.to_dict("records")
    ]

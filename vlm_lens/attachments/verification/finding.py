"""What a proof found."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas

from vlm_lens.errors import VerificationError

_COLUMNS = ("object", "check", "n_layers", "n_heads", "n_steps", "n_covered", "unit", "deviation", "tolerance",
            "is_independent")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that was checked about one object.

    Attributes:
        object: its name.
        check: what was found, in a sentence.
        n_layers: how many layers (of hooks outside the layers: how many hooks) it covered.
        n_heads: how many heads of each; 0 where heads are not told apart.
        n_steps: how many passes of the model.
        n_covered: how many of `unit` it covered.
        unit: "edges", "positions", "queries" or "values".
        deviation: the largest distance from what was asked for.
        tolerance: how far it may be; None where the deviation is a figure and no condition.
        is_independent: whether what was asked for was worked out apart from the code that writes; False where that
            code was asked itself.
    """

    object: str
    check: str
    n_layers: int = 0
    n_heads: int = 0
    n_steps: int = 0
    n_covered: int = 0
    unit: str = ""
    deviation: float = 0.0
    tolerance: float | None = 0.0
    is_independent: bool = True

    @property
    def coverage(self) -> str:
        """What it covered, in words."""
        counts = [(self.n_covered, self.unit), (self.n_layers, "layers"), (self.n_heads, "heads"),
                  (self.n_steps, "steps")]  # fmt: skip
        return ", ".join(f"{n:,} {unit if n != 1 else unit.removesuffix('s')}" for n, unit in counts if n)

    @property
    def figure(self) -> str:
        """How far it was off, and how far it may be."""
        if not self.unit:
            return ""
        if self.tolerance is None:
            return f"{self.deviation:.2g}"
        return f"{self.deviation:.2g} <= {self.tolerance:.2g}" if self.tolerance else f"{self.deviation:.2g}, exact"

    @property
    def covered(self) -> str:
        """Coverage and figure in one."""
        return "; ".join(filter(None, (self.coverage, self.figure)))


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """What `run.verify()` has proved, object by object; had anything been off, it would have raised.

    Attributes:
        findings: one for each object and check.
        n_runs: how often the run was repeated.
    """

    findings: tuple[Finding, ...]
    n_runs: int = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def of(self, one: Any) -> tuple[Finding, ...]:
        """The findings about an object."""
        name = one if isinstance(one, str) else title_of(one)
        return tuple(finding for finding in self.findings if finding.object == name)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each object and check."""
        rows = [[getattr(finding, name) for name in _COLUMNS] for finding in self.findings]
        return pandas.DataFrame(rows, columns=list(_COLUMNS))

    def __repr__(self) -> str:
        lines = [f"Verification: {len(self)} checks hold, in {self.n_runs} runs"]
        for name in dict.fromkeys(finding.object for finding in self.findings):
            lines.append(f"{name}")
            for finding in self.of(name):
                figures = f" [{finding.covered}]" if finding.covered else ""
                lines.append(f"  {finding.check}{figures}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left, short = "text-align:left", "text-align:left;white-space:nowrap"
        rows = []
        for name in dict.fromkeys(finding.object for finding in self.findings):
            rows.append(f"<tr><th colspan=3 style='{left}'>{escape(name)}</th></tr>")
            for one in self.of(name):
                cells = ((left, one.check), (short, one.coverage), (short, one.figure))
                rows.append(f"<tr>{''.join(f'<td style={style!r}>{escape(cell)}</td>' for style, cell in cells)}</tr>")
        return f"<b>{len(self)} checks hold</b>, in {self.n_runs} runs<table>{''.join(rows)}</table>"


def title_of(one: Any) -> str:
    """What an object is called in a proof: its name, or what it says."""
    return one.name or repr(one)


def check_within(what: str, rule: str, deviation: float, tolerance: float, advice: str = "") -> None:
    """Raise if a figure is larger than it may be, or no number.

    Raises:
        VerificationError: with the figure.
    """
    if not deviation <= tolerance:
        limit = f"within {tolerance:.2g}" if tolerance else "to the bit"
        raise VerificationError(what, f"{rule}, {limit}", f"{deviation:.3g} off", advice)

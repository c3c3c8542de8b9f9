"""What `ActivationPatching` found: the metric of each patch, beside that of the run without one and of the source."""

from dataclasses import dataclass, replace
from html import escape
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from vlm_lens.errors import InputError, PositionError
from vlm_lens.plotting.patching_heatmaps import patching_heatmaps

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class PatchingGrid:
    """One number a patch.

    Attributes:
        cells: all axes, those of length 1 too; NaN where a group has no positions, or a kind fewer heads.
        kinds: the kinds of activation.
        layers: the layers.
        positions: the groups of positions, or each position.
        heads: the heads patched one by one; None where all were patched together.
        corrupted: the metric without a patch; one number, or one a row.
        clean: the metric of the source, or None where it is unknown.
        metric: its name.
        n_rows: of the batch.
        only_row: which row these numbers are of, where they were taken from those of a batch.
    """

    cells: Float[np.ndarray, "kind layer group head row"]
    kinds: tuple[str, ...]
    layers: tuple[int, ...]
    positions: tuple[str, ...]
    heads: tuple[int, ...] | None
    corrupted: Float[np.ndarray, " row"]
    clean: Float[np.ndarray, " row"] | None
    metric: str
    n_rows: int
    only_row: int | None = None

    def row(self, row: int) -> "PatchingGrid":
        """One row of the batch alone.

        Raises:
            InputError: a metric that gave one number for the whole batch.
            PositionError: a row that there is not.
        """
        known = range(self.n_rows) if self.only_row is None else (self.only_row,)
        if row not in known:
            raise PositionError("Row was not read", f"one of {', '.join(map(str, known))}", f"row={row}")
        if len(self.corrupted) != len(known):
            advice = "LogitDifference and the other metrics of answers do."
            raise InputError("Row of a grid", f"a metric of one number a row ({self.n_rows})", "one number", advice)
        place = known.index(row)
        clean = None if self.clean is None else self.clean[[place]]
        return replace(
            self, cells=self.cells[..., [place]], corrupted=self.corrupted[[place]], clean=clean, n_rows=1, only_row=row
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes of `values`: layer and position, and kind, head, row where there are several."""
        kept = {"kind": len(self.kinds) > 1, "head": self.heads is not None, "row": len(self.corrupted) > 1}
        return tuple(name for name in ("kind", "layer", "position", "head", "row") if kept.get(name, True))

    @property
    def coordinates(self) -> dict[str, tuple[object, ...]]:
        """What stands along each axis."""
        everything = dict(
            kind=self.kinds, layer=self.layers, position=self.positions, head=self.heads,
            row=tuple(range(len(self.corrupted))),
        )  # fmt: skip
        return {name: tuple(everything[name] or ()) for name in self.axes}

    @property
    def values(self) -> Float[np.ndarray, "*axes"]:
        """The metric under each patch, with the axes `axes`."""
        return self.cells.reshape([len(one) for one in self.coordinates.values()])

    @property
    def recovered(self) -> Float[np.ndarray, "*axes"]:
        """The same on the scale from 0, the run without a patch, to 1, the source; NaN in a row where these are equal.

        Raises:
            InputError: where the source's own value is unknown, or equals the run's in every row.
        """
        return self._on_the_scale(self.cells, self.corrupted, self._known_clean()).reshape(self.values.shape)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a patch (and row of the batch, where the metric tells them apart).

        Columns kind, layer, position, head, row, value, corrupted, clean, recovered.
        """
        heads = (None,) if self.heads is None else self.heads
        rows = range(len(self.corrupted)) if "row" in self.axes else (self.only_row,)
        places = product(self.kinds, self.layers, self.positions, heads, rows)
        frame = pd.DataFrame(list(places), columns=["kind", "layer", "position", "head", "row"])
        clean = np.full(len(self.corrupted), np.nan) if self.clean is None else self.clean
        gap = clean - self.corrupted
        recovered = (self.cells - self.corrupted) / np.where(gap == 0, np.nan, gap)
        columns = {
            "value": self.cells,
            "corrupted": np.broadcast_to(self.corrupted, self.cells.shape),
            "clean": np.broadcast_to(clean, self.cells.shape),
            "recovered": recovered,
        }
        return frame.assign(**{name: column.reshape(-1) for name, column in columns.items()})

    def plot(self, is_normalised: bool | None = None) -> "go.Figure":
        """Heat maps of layer by position, one a kind; by head, where heads were patched one by one.

        Rows of the batch are averaged. Colours are centred on the run without a patch.

        Args:
            is_normalised: on the scale from 0 (without a patch) to 1 (the source); None where that is possible.

        Raises:
            InputError: is_normalised, and the source's own value is unknown.
        """
        values, corrupted = self.cells.mean(axis=-1), float(self.corrupted.mean())
        clean = None if self.clean is None else float(self.clean.mean())
        if is_normalised is None:
            is_normalised = clean is not None and clean != corrupted
        if is_normalised:
            values = self._on_the_scale(values, corrupted, float(self._known_clean().mean()))
            corrupted, clean = 0.0, 1.0
        panels = {
            f"{kind}, {position}" if len(self.positions) > 1 else kind: values[i, :, j]
            for i, kind in enumerate(self.kinds)
            for j, position in enumerate(self.positions)
        }
        columns, axis = [str(head) for head in self.heads or ()], "head"
        if self.heads is None:
            panels = {kind: values[i, :, :, 0] for i, kind in enumerate(self.kinds)}
            columns, axis = list(self.positions), "position"
        return patching_heatmaps(
            panels, [str(layer) for layer in self.layers], columns, axis=axis, corrupted=corrupted, clean=clean,
            title="share recovered" if is_normalised else self.metric,
        )  # fmt: skip

    def _known_clean(self) -> Float[np.ndarray, " row"]:
        if self.clean is None:
            advice = "Give the run itself, not its cache: vlm.run(inputs, names_filter=...)."
            raise InputError("Share recovered", "the metric of the source", "none", advice)
        return self.clean

    def _on_the_scale(self, values: np.ndarray, corrupted: object, clean: object) -> np.ndarray:
        gap = np.asarray(clean) - np.asarray(corrupted)
        if bool((gap == 0).all()):
            raise InputError("Share recovered", "a source that differs from the run without a patch", "equal metrics")
        scaled: np.ndarray = (values - corrupted) / np.where(gap == 0, np.nan, gap)
        return scaled

    def __repr__(self) -> str:
        sizes = " x ".join(f"{len(one)} {name}s" for name, one in self.coordinates.items())
        clean = "" if self.clean is None else f", source {self.clean.mean():.3g}"
        return f"PatchingGrid({sizes}; {self.metric}: without a patch {self.corrupted.mean():.3g}{clean})"

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>{self.to_dataframe().head(20).to_html(index=False)}"

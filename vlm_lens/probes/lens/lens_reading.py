"""What a logit lens read: for every state and place the best tokens, the targets, the entropy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vlm_lens.errors import InputError, PositionError
from vlm_lens.layout import PictureLayout, Region, TokenLayout
from vlm_lens.probes.lens.lens_frames import entropy_frame, target_frame, top_frame
from vlm_lens.probes.lens.lens_statistics import LensStatistics
from vlm_lens.probes.places import Places, span_of

TARGET_VALUES = {
    "probability": "target_probabilities",
    "log_probability": "target_log_probabilities",
    "rank": "target_ranks",
}
VALUES = (*TARGET_VALUES, "entropy")
FRAMES = {"top": top_frame, "targets": target_frame, "entropy": entropy_frame}


@dataclass(frozen=True, eq=False, repr=False)
class LensReading:
    """The residual stream as words: `run[lens]`.

    Places are the positions that were read, row by row of the batch; padding is none of them. `reading.row(0)` is one
    row alone, so that the place axis is its positions.

    Attributes:
        states: "embed", then the layer after which each state was read.
        places: the row, position, token and patch of each place.
        top_ids: the best outputs, best first.
        top_probabilities: their probabilities.
        entropy: of the whole distribution, in nats.
        targets: the names of the targets.
        target_ranks: 1 is the best; a tie shares the better rank.
        target_log_probabilities: natural logarithm.
        names: what each output that occurs is called.
        layout: of the positions.
        images: the pictures as opened; () where they are unknown.
    """

    states: tuple[str, ...]
    places: Places
    top_ids: Int[np.ndarray, "state place rank"]
    top_probabilities: Float[np.ndarray, "state place rank"]
    entropy: Float[np.ndarray, "state place"]
    targets: tuple[str, ...]
    target_ranks: Int[np.ndarray, "state place target"]
    target_log_probabilities: Float[np.ndarray, "state place target"]
    names: Mapping[int, str]
    layout: TokenLayout | PictureLayout = field(repr=False)
    images: tuple[Any, ...] = ()

    @classmethod
    def of(
        cls,
        states: Mapping[str, tuple[Int[np.ndarray, " place"], Int[np.ndarray, " place"], LensStatistics]],
        targets: tuple[str, ...],
        names_of: Callable[[Sequence[int]], list[str]],
        layout: TokenLayout | PictureLayout,
        images: tuple[Any, ...],
        is_counted: Bool[np.ndarray, "row pos"],
    ) -> "LensReading":
        """A reading from rows, positions and statistics of each state, in any order of places."""
        rows, positions, _ = next(iter(states.values()))
        order = np.lexsort((positions, rows))
        kept = order[is_counted[rows[order], positions[order]]]
        places = Places.of(layout, rows[kept], positions[kept])

        def stacked(name: str) -> Any:
            return np.stack([getattr(statistics, name).numpy()[kept] for _, _, statistics in states.values()])

        top_ids = stacked("top_ids")
        known = np.unique(top_ids).tolist()
        return cls(
            tuple(states),
            places,
            top_ids,
            stacked("top_probabilities"),
            stacked("entropy"),
            targets,
            stacked("target_ranks"),
            stacked("target_log_probabilities"),
            dict(zip(known, names_of(known), strict=True)),
            layout,
            images,
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer after which each state was read; -1 for the embedding."""
        return tuple(-1 if state == "embed" else int(state) for state in self.states)

    @property
    def rows(self) -> Int[np.ndarray, " place"]:
        """The row of each place; in a vision tower the picture."""
        return self.places.rows

    @property
    def positions(self) -> Int[np.ndarray, " place"]:
        """The position of each place, absolute in the padded row."""
        return self.places.positions

    @property
    def target_probabilities(self) -> Float[np.ndarray, "state place target"]:
        """The probability of each target; of a group of aliases, their sum."""
        return np.exp(self.target_log_probabilities)

    @property
    def top(self) -> Any:
        """The best tokens by name: a `TopTokens` [state place rank]."""
        from vlm_lens.plotting import TopTokens

        named = np.array([self.names[one] for one in self.top_ids.ravel().tolist()], dtype=np.str_)
        return TopTokens(named.reshape(self.top_ids.shape), self.top_probabilities.astype(np.float64))

    def row(self, row: int) -> "LensReading":
        """One row of the batch alone; its number stays.

        Raises:
            PositionError: a row of which nothing was read.
        """
        which = self.places.rows == row
        if not which.any():
            read = sorted(set(self.places.rows.tolist()))
            raise PositionError("Row was not read", f"one of {', '.join(map(str, read))}", row)
        return self._at(which)

    def _at(self, which: Bool[np.ndarray, " place"]) -> "LensReading":
        return replace(
            self,
            places=self.places.chosen(which),
            **{
                name: getattr(self, name)[:, which]
                for name in (
                    "top_ids", "top_probabilities", "entropy", "target_ranks", "target_log_probabilities",
                )
            },
        )  # fmt: skip

    # Maps over a picture

    def patches(
        self, value: str = "probability", target: str | None = None, *, image: int = 0, row: int | None = None
    ) -> Float[np.ndarray, "state patch_row patch_col"]:
        """A value at each patch of a picture; NaN where a patch was not read.

        Args:
            value: "probability", "log_probability" or "rank" of a target, or "entropy".
            target: its name; None where there is only one.
            image: which image of the row.
            row: the row of the batch, in a vision tower the picture; None takes the first that was read.

        Raises:
            InputError: a target that was not asked for, or another value.
            PositionError: no patch of that image was read.
        """
        if value not in VALUES:
            raise InputError("Value of the lens", f"one of {', '.join(VALUES)}", repr(value))
        row = self._or_first(row)
        which = self._is_patch(row, image)
        if value == "entropy":
            chosen = self.entropy[:, which]
        else:
            values = getattr(self, TARGET_VALUES[value])
            chosen = values[:, which, self._target(target)]
        places, grid = self.places.chosen(which), span_of(self.layout, row, image).grid
        found = np.full((len(self.states), *grid.shape), np.nan)
        found[:, places.patch_rows, places.patch_cols] = chosen
        return found

    def top_patches(self, *, image: int = 0, row: int | None = None) -> Any:
        """The best tokens at each patch of a picture: a `TopTokens` [state patch_row patch_col rank].

        A patch that was not read has empty tokens of probability 0.

        Raises:
            PositionError: no patch of that image was read.
        """
        from vlm_lens.plotting import TopTokens

        row = self._or_first(row)
        which = self._is_patch(row, image)
        here, grid = self._at(which), span_of(self.layout, row, image).grid
        top, shape = here.top, (len(self.states), *grid.shape, self.top_ids.shape[-1])
        tokens, probabilities = np.full(shape, "", dtype=top.tokens.dtype), np.zeros(shape)
        tokens[:, here.places.patch_rows, here.places.patch_cols] = top.tokens
        probabilities[:, here.places.patch_rows, here.places.patch_cols] = top.probabilities
        return TopTokens(tokens, probabilities)

    def _or_first(self, row: int | None) -> int:
        return int(self.places.rows[0]) if row is None else row

    def _is_patch(self, row: int, image: int) -> Bool[np.ndarray, " place"]:
        which = self.places.is_patch_of(row, image)
        if not which.any():
            advice = "Read them with LogitLens(positions='image')."
            raise PositionError("Patches were not read", f"patches of row {row}, image {image}", "none", advice)
        return which

    def _target(self, target: str | None) -> int:
        if target is None and len(self.targets) == 1:
            return 0
        if target not in self.targets:
            known = ", ".join(map(repr, self.targets)) or "none: give LogitLens(targets=...)"
            raise InputError("Target was not read", f"one of {known}", repr(target))
        return self.targets.index(target)

    # Frames and figures

    def to_dataframe(self, of: str = "top") -> pd.DataFrame:
        """A tidy frame: one line for each state, place and rank (or target).

        Columns are row, state, layer (-1 for the embedding), position, role, token, image, patch_row, patch_col (empty
        outside pictures), and rank, top_token, top_id, probability; for "targets" target, rank, probability,
        log_probability; for "entropy" entropy, in nats.

        Args:
            of: "top", "targets" or "entropy".

        Raises:
            InputError: something else.
        """
        if of not in FRAMES:
            raise InputError("Frame of the lens", f"one of {', '.join(FRAMES)}", repr(of))
        return FRAMES[of](self)

    def plot(
        self,
        kind: str | None = None,
        *,
        row: int | None = None,
        image: int = 0,
        region: Region | None = None,
        **options: Any,
    ) -> Any:
        """A plotly figure.

        Args:
            kind: "map", the words over the picture with a slider through the layers, or "strip", layers side by side;
                "tokens", a table of layers and positions; "layers", of layers and ranks at one position; "targets" or
                "entropy", lines over layers, of several positions the mean. None takes the map where patches were
                read, and else what fits the number of positions.
            row: the row of the batch; None takes the first that was read.
            image: which image of the row, for the maps.
            region: patches to outline.
            options: of the figure: see `lens_map`, `lens_strip`, `lens_table`, `lens_by_layer`, `lens_lines` in
                `vlm_lens.plotting`.

        Raises:
            InputError: an unknown kind.
            PositionError: a row or image that was not read, or a region of another picture.
        """
        from vlm_lens.probes.lens.lens_figures import lens_figure

        return lens_figure(self, kind, self._or_first(row), image, region, options)

    def __repr__(self) -> str:
        n_rows, targets = len(set(self.places.rows.tolist())), f", targets {list(self.targets)}" if self.targets else ""
        return f"LensReading({len(self.states)} states x {len(self.places)} places in {n_rows} rows{targets})"

    def _repr_html_(self) -> str:
        top = self.top[:, -1]
        place = f"row {self.places.rows[-1]}, position {self.places.positions[-1]}"
        lines = "".join(
            f"<tr><th>{escape(state)}</th>"
            + "".join(f"<td>{escape(str(t))} {p:.0%}</td>" for t, p in zip(tokens, probabilities, strict=True))
            + "</tr>"
            for state, tokens, probabilities in zip(self.states, top.tokens, top.probabilities, strict=True)
        )
        return f"<b>{escape(repr(self))}</b><table><caption>{place}</caption>{lines}</table>"

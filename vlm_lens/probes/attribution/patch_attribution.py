"""The result of gradient-based probes: how much each position, and so each patch, counts for an answer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Record
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.errors import InputError, PositionError
from vlm_lens.layout import ImageSpan, PictureLayout, Region
from vlm_lens.plotting.attribution_maps import attribution_maps
from vlm_lens.plotting.attribution_tokens import attribution_tokens
from vlm_lens.plotting.seen_picture import patch_picture

Kind = Literal["signed", "absolute"]


class Seen(NamedTuple):
    """A picture, and where its patches stand among the values: which sequence, from which position on."""

    span: ImageSpan
    row: int
    image: int
    sequence: int
    start: int


class Completeness(NamedTuple):
    """What the attributions should sum to, by sequence: the answer here, less the answer at the baseline."""

    answer: Float[np.ndarray, " sequence"]
    at_baseline: Float[np.ndarray, " sequence"]


@dataclass(frozen=True, eq=False)
class PatchAttribution:
    """How much each position counts for an answer.

    Attributes:
        method: which probe found it.
        explains: for each row (or picture of CLIP) what is explained.
        answer: for each of these its value in this run.
        signed: the attribution of each position, summed over its vector; 0 where none was asked for. A sequence is a
            row of the decoder, or a picture at the projector and in the vision tower.
        absolute: the sum of absolute values instead.
        pictures: every picture, and where it stands.
        completeness: what the attributions of all positions should sum to; None where the method promises none.
        row_of: of each sequence the row (or picture) whose answer it counts for.
        tokens: the text of each position of each row; () where positions are patches.
        images: the pictures as opened, where known.
        n_rows: the most steps that were run as one batch.
        rows: the number of each row (or picture of CLIP) in the batch; None where these are all.
    """

    method: str
    explains: tuple[str, ...]
    answer: Float[np.ndarray, " row"]
    signed: Float[np.ndarray, "sequence pos"]
    absolute: Float[np.ndarray, "sequence pos"]
    pictures: tuple[Seen, ...]
    row_of: tuple[int, ...]
    completeness: Completeness | None = None
    tokens: tuple[tuple[str, ...], ...] = ()
    images: tuple[Any, ...] = ()
    n_rows: int = 1
    rows: tuple[int, ...] | None = None

    def row(self, row: int) -> "PatchAttribution":
        """One row of the batch (or picture of CLIP) alone; its number stays.

        Raises:
            PositionError: a row that there is not.
        """
        place = self._place(row)
        sequences = [sequence for sequence, of in enumerate(self.row_of) if of == row]
        pictures = [place for place, seen in enumerate(self.pictures) if seen.row == row]
        ends = self.completeness
        return replace(
            self,
            explains=self.explains[place : place + 1],
            answer=self.answer[[place]],
            signed=self.signed[sequences],
            absolute=self.absolute[sequences],
            pictures=tuple(
                self.pictures[one]._replace(sequence=sequences.index(self.pictures[one].sequence)) for one in pictures
            ),
            row_of=(row,) * len(sequences),
            completeness=None if ends is None else Completeness(ends.answer[[place]], ends.at_baseline[[place]]),
            tokens=tuple(self.tokens[sequence] for sequence in sequences) if self.tokens else (),
            images=tuple(self.images[one] for one in pictures) if len(self.images) == len(self.pictures) else (),
            rows=(row,),
        )

    @property
    def error(self) -> Float[np.ndarray, " row"] | None:
        """For each row how far the attributions' sum is from what it should be, in units of the logit."""
        if self.completeness is None:
            return None
        sums = np.zeros(len(self.answer))
        np.add.at(sums, [self._place(row) for row in self.row_of], self.signed.sum(axis=1))
        return np.abs(sums - (self.completeness.answer - self.completeness.at_baseline))

    def map(
        self, kind: Kind = "signed", *, image: int = 0, row: int | None = None
    ) -> Float[np.ndarray, "patch_row patch_col"]:
        """The attribution of each patch of a picture.

        Args:
            kind: with signs, or absolute.
            image: which picture of the row.
            row: which row; None takes the first.

        Raises:
            PositionError: for a picture that there is not.
        """
        values = {"signed": self.signed, "absolute": self.absolute}.get(kind)
        if values is None:
            raise InputError("Kind of attribution", "'signed' or 'absolute'", repr(kind))
        seen, _ = self._seen(image, row)
        patches = values[seen.sequence, seen.start : seen.start + seen.span.grid.n_patches]
        return rearrange(patches, "(row col) -> row col", col=seen.span.grid.n_cols)

    def top(self, n: int, kind: Kind = "absolute", *, image: int = 0, row: int | None = None) -> Region:
        """The n patches that count most, as positions for any intervention or probe.

        Raises:
            InputError: for more patches than there are.
        """
        values = self.map(kind, image=image, row=row).ravel()
        if not 1 <= n <= len(values):
            raise InputError("Number of patches", f"from 1 to {len(values)}", n)
        best = np.argsort(-values, kind="stable")[:n]
        seen, _ = self._seen(image, row)
        return Region(seen.span, seen.row, frozenset(best.tolist()), seen.image)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a position: row, image, position, token, patch_row, patch_col, signed, absolute, explains.

        `image`, `patch_row` and `patch_col` are missing outside the pictures; `position` is the decoder's, or that in
        the picture's own sequence where there is no decoder.
        """
        frame = pd.DataFrame(self._rows(), columns=_COLUMNS)
        return frame.astype({"image": "Int64", "position": "Int64", "patch_row": "Int64", "patch_col": "Int64"})

    def plot(
        self, kind: Kind = "signed", *, image: int = 0, row: int | None = None, region: Region | None = None
    ) -> Any:
        """A map over a picture; bars over the tokens where there is no picture.

        Args:
            kind: with signs, or absolute.
            image: which picture of the row.
            row: which row; None takes the first.
            region: patches to outline.

        Raises:
            PositionError: for a picture that there is not, or a region of another.
        """
        row = self._or_first(row)
        place = self._place(row)
        where = f" in row {row}" if len(self.explains) > 1 else ""
        title = f"{self.method}: what counts for {self.explains[place]} ({self.answer[place]:+.2f}){where}"
        if not self.pictures:
            values = self.signed if kind == "signed" else self.absolute
            return attribution_tokens(values[place], self.tokens[place] if self.tokens else (), title=title)
        seen, place = self._seen(image, row)
        picture = patch_picture(seen.span, self.images[place] if place < len(self.images) else None, region)
        return attribution_maps(picture, self.map(kind, image=image, row=row)[None], [kind], title=title)

    def _or_first(self, row: int | None) -> int:
        return row if row is not None else self.rows[0] if self.rows else 0

    def _place(self, row: int) -> int:
        """Where a row stands among those that are here.

        Raises:
            PositionError: a row that is not.
        """
        here = range(len(self.explains)) if self.rows is None else self.rows
        if row not in here:
            raise PositionError("Row was not read", f"one of {', '.join(map(str, here))}", f"row={row}")
        return here.index(row)

    def _seen(self, image: int, row: int | None) -> tuple[Seen, int]:
        row = self._or_first(row)
        of_row = [(seen, place) for place, seen in enumerate(self.pictures) if seen.row == row]
        if not -len(of_row) <= image < len(of_row):
            raise PositionError("Picture does not exist", f"a picture of row {row}, which has {len(of_row)}", image)
        return of_row[image]

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """The tidy frame's rows."""
        patches = {
            (seen.sequence, seen.start + patch): (seen, patch)
            for seen in self.pictures
            for patch in range(seen.span.grid.n_patches)
        }
        for sequence, row in enumerate(self.row_of):
            explains = self.explains[self._place(row)]
            for position in range(self.signed.shape[1]):
                seen, patch = patches.get((sequence, position), (None, 0))
                token = self.tokens[sequence][position] if self.tokens else ""
                place = divmod(patch, seen.span.grid.n_cols) if seen else (None, None)
                image = seen.image if seen else None
                absolute = seen.span.patch_positions[patch] if seen and not self.tokens else position
                signed, magnitude = self.signed[sequence, position], self.absolute[sequence, position]
                yield row, image, absolute, token, *place, float(signed), float(magnitude), explains

    def __repr__(self) -> str:
        n_rows, row = len(self.explains), self._or_first(None)
        over = f"{len(self.pictures)} picture{'' if len(self.pictures) == 1 else 's'}"
        over = over if self.pictures else f"{self.signed.shape[1]} positions"
        rows, of_first = (f"{n_rows} rows, ", f"row {row}: ") if n_rows > 1 else ("", "")
        found = f"{self.method}: {rows}{over}; {of_first}{self.explains[0]} {self.answer[0]:+.2f}"
        if self.error is not None and self.completeness is not None:
            change = self.completeness.answer[0] - self.completeness.at_baseline[0]
            total = self.signed[np.array(self.row_of) == row].sum()
            found += f", sum {total:+.4f} of {change:+.4f}, completeness error {self.error[0]:.1e}"
        return f"PatchAttribution({found})"

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>{self.plot()._repr_html_()}"


_COLUMNS = ["row", "image", "position", "token", "patch_row", "patch_col", "signed", "absolute", "explains"]


def summed_over_features(values: Float[Tensor, "sequence pos *features"]) -> tuple[np.ndarray, np.ndarray]:
    """Each position's sum, and its sum of absolute values, in fp64."""
    flat = values.to(torch.float32).flatten(2).double() if values.ndim > 2 else values.double()[..., None]
    return flat.sum(dim=-1).cpu().numpy(), flat.abs().sum(dim=-1).cpu().numpy()


def pictures_in(sequences: Sequences, record: Record) -> tuple[tuple[Seen, ...], tuple[int, ...]]:
    """Every picture's place in some sequences, and the row that each sequence belongs to."""
    if not isinstance(sequences, PictureLayout):
        layout = sequences
        seen = tuple(
            Seen(span, row, image, row, span.patch_positions.start)
            for row, spans in enumerate(layout.images)
            for image, span in enumerate(spans)
        )
        return seen, tuple(range(layout.n_rows))
    pictures = tuple(
        Seen(one.span or ImageSpan(0, sequences.grid), one.row, one.image, place, sequences.n_class_tokens)
        for place, one in enumerate(sequences.pictures)
    )
    return pictures, tuple(one.row for one in sequences.pictures)

"""What each place that a probe read is: its row, position, token and patch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from vlm_lens.layout import ImageSpan, PictureLayout, TokenLayout


@dataclass(frozen=True, eq=False)
class Places:
    """Positions of a batch, in the order of rows.

    Attributes:
        rows: the row of the batch; in a vision tower the picture.
        positions: absolute in the padded row; in a vision tower its own.
        roles: what the position is; `cls` and `patch` in a vision tower.
        tokens: its text; "" for image positions.
        images: which image of the row; -1 outside images.
        patch_rows, patch_cols: its place in the patch grid; -1 where it is no patch.
    """

    rows: Int[np.ndarray, " place"]
    positions: Int[np.ndarray, " place"]
    roles: Shaped[np.ndarray, " place"]
    tokens: Shaped[np.ndarray, " place"]
    images: Int[np.ndarray, " place"]
    patch_rows: Int[np.ndarray, " place"]
    patch_cols: Int[np.ndarray, " place"]

    @classmethod
    def of(
        cls, layout: TokenLayout | PictureLayout, rows: Int[np.ndarray, " place"], positions: Int[np.ndarray, " place"]
    ) -> "Places":
        """What some positions of a layout are."""
        described = _of_tokens if isinstance(layout, TokenLayout) else _of_pictures
        known = described(layout, rows, positions)  # type: ignore[arg-type]
        roles, tokens, images, patches = zip(*known, strict=True) if known else ((), (), (), ())
        patch_ids, n_cols = np.array(patches, dtype=np.int64), _n_cols(layout)
        is_patch = patch_ids >= 0
        return cls(
            rows,
            positions,
            np.array(roles, dtype=object),
            np.array(tokens, dtype=object),
            np.array(images, dtype=np.int64),
            np.where(is_patch, patch_ids // n_cols, -1),
            np.where(is_patch, patch_ids % n_cols, -1),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, which: Bool[np.ndarray, " place"]) -> "Places":
        """Some of the places."""
        return Places(
            self.rows[which], self.positions[which], self.roles[which], self.tokens[which], self.images[which],
            self.patch_rows[which], self.patch_cols[which],
        )  # fmt: skip

    def is_patch_of(self, row: int, image: int) -> Bool[np.ndarray, " place"]:
        """True at the patches of one image."""
        return (self.rows == row) & (self.images == image) & (self.patch_rows >= 0)


def span_of(layout: TokenLayout | PictureLayout, row: int, image: int) -> ImageSpan:
    """Where an image stands, with its grid; without its pixels' way where that is unknown.

    Raises:
        PositionError: the row has no such image.
    """
    if isinstance(layout, TokenLayout):
        return layout.image_span(image, row)
    return layout.pictures[row].span or ImageSpan(0, layout.grid)


Known = tuple[str, str, int, int]
"""Role, text, image, patch."""


def _of_tokens(layout: TokenLayout, rows: Any, positions: Any) -> list[Known]:
    known: list[Known] = []
    roles = {int(row): layout.roles(int(row)) for row in np.unique(rows)}
    for row, position in zip(np.asarray(rows).tolist(), np.asarray(positions).tolist(), strict=True):
        image, patch = -1, -1
        for number, span in enumerate(layout.images[row]):
            if span.start <= position < span.stop:
                image, patch = number, max(position - span.patch_positions.start, -1)
        role = roles[row][position]
        known.append((role, "" if role == "image" else layout.strings[row][position], image, patch))
    return known


def _of_pictures(layout: PictureLayout, rows: Any, positions: Any) -> list[Known]:
    patches = [int(position) - layout.n_class_tokens for position in positions]
    return [("patch", "", 0, patch) if patch >= 0 else ("cls", "", 0, -1) for patch in patches]


def _n_cols(layout: TokenLayout | PictureLayout) -> int:
    if isinstance(layout, PictureLayout):
        return layout.grid.n_cols
    return next((span.grid.n_cols for spans in layout.images for span in spans), 1)

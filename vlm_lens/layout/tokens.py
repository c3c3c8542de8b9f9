"""The layout of a batch of sequences: what each position is, and the names of positions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int8
from torch import Tensor

from vlm_lens.errors import InputError, PositionError
from vlm_lens.layout.image_span import ImageSpan
from vlm_lens.layout.masks import covered_patches, patches_at
from vlm_lens.layout.regions import Region
from vlm_lens.layout.roles import DERIVED_NAMES, PICTURE_NAMES, ROLES, Role
from vlm_lens.layout.selectors import Selector, resolve, unknown_name
from vlm_lens.layout.word_search import find_words

_ROLE_ID = {role: number for number, role in enumerate(ROLES)}


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """For every position of a batch its role, its text, and the images among them.

    Positions are absolute in the padded row. A layout is a value: generation makes extended ones.

    Attributes:
        role_ids: the place of each position's role in `ROLES`.
        images: for each row its images, in order.
        strings: for each row the text of each position; together they spell the row.
        n_prompt: how many columns came before the first generated one.
        n_planned: how many columns there will be once all is generated; 0 where nothing is planned. Ints and masks
            may speak of those to come.
    """

    role_ids: Int8[Tensor, "batch pos"]
    images: tuple[tuple[ImageSpan, ...], ...]
    strings: tuple[tuple[str, ...], ...]
    n_prompt: int
    n_planned: int = 0

    @classmethod
    def from_roles(
        cls,
        roles: Sequence[Sequence[Role]],
        images: Sequence[Sequence[ImageSpan]] | None = None,
        strings: Sequence[Sequence[str]] | None = None,
    ) -> "TokenLayout":
        """A layout from the names of the roles, row by row; all rows have one length."""
        role_ids = torch.tensor([[_ROLE_ID[role] for role in row] for row in roles])
        return cls(
            role_ids.to(torch.int8).view(len(roles), -1),
            tuple(tuple(row) for row in images or [()] * len(roles)),
            tuple(tuple(row) for row in strings or [("",) * len(row) for row in roles]),
            role_ids.shape[1],
        )

    def __post_init__(self) -> None:
        n_rows, n_positions = self.role_ids.shape
        assert len(self.images) == len(self.strings) == n_rows
        assert all(len(row) == n_positions for row in self.strings)
        for spans, row in zip(self.images, self.role_ids, strict=True):
            for span in spans:
                assert (row[span.start : span.stop] == _ROLE_ID["image"]).all(), span

    # Shape and roles

    @property
    def n_rows(self) -> int:
        """The rows of the batch."""
        return self.role_ids.shape[0]

    @property
    def n_positions(self) -> int:
        """The columns, padding included."""
        return self.role_ids.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, pos)."""
        return self.n_rows, self.n_positions

    def roles(self, row: int = 0) -> tuple[Role, ...]:
        """The role of each position of a row."""
        return tuple(ROLES[number] for number in self.role_ids[self._row(row)].tolist())

    def str_tokens(self, row: int = 0) -> tuple[str, ...]:
        """The text of each position of a row; "" where several tokens spell one character."""
        return self.strings[self._row(row)]

    def text(self, row: int = 0) -> str:
        """The text of a row without its padding and image positions."""
        pairs = zip(self.strings[self._row(row)], self.roles(row), strict=True)
        return "".join(text for text, role in pairs if role not in ("pad", "image"))

    def image_span(self, image: int = 0, row: int = 0) -> ImageSpan:
        """Where an image of a row stands.

        Raises:
            PositionError: the row has no such image.
        """
        spans = self.images[self._row(row)]
        if not -len(spans) <= image < len(spans):
            raise PositionError(
                "Image does not exist",
                f"an image of row {row}, which has {len(spans)}",
                f"image={image}",
            )
        return spans[image]

    # Positions

    def positions(self, selector: Selector, row: int = 0) -> tuple[int, ...]:
        """The positions of a row that a selector means, ascending.

        Names are the roles and: `last` (the last prompt position), `last_row` (the final row of
        patches of the last image), `text` (neither image nor padding), `prompt` (neither
        generated nor padding), `prompt_text` (the prompt without its images, the last position
        with it: `Except("prompt_text", but="last")` leaves that out), `predicting` (the last
        prompt position and every generated one: the rows that produce the generated tokens),
        `all` (all but padding). A role that does not occur has no positions; that is no error
        here.

        Raises:
            PositionError: an unknown name, a position that does not exist, or a region of
                another picture or row.
        """
        row = self._row(row)
        if isinstance(selector, Region) and selector.row != row:
            raise PositionError(
                "Region belongs to another row of the batch", f"row {row}", f"row {selector.row}",
                "Make it with layout.region(mask, row=...).",
            )  # fmt: skip
        return tuple(sorted(self._resolve(selector, row)))

    def mask(self, selector: Selector) -> Bool[Tensor, "batch pos"]:
        """True at the positions that a selector means, in every row.

        A region counts in its own row alone; everything else is resolved row by row.
        """
        mask = torch.zeros(self.shape, dtype=torch.bool)
        for row in range(self.n_rows):
            mask[row, list(self._resolve(selector, row))] = True
        return mask

    def _resolve(self, selector: Selector, row: int) -> set[int]:
        return resolve(
            selector,
            row,
            n_rows=self.n_rows,
            n_positions=self.n_positions,
            n_prompt=self.n_prompt,
            n_planned=self.n_planned,
            name_to_positions=lambda name: self._named(name, row),
            region_to_positions=lambda region: self._in_region(region, row),
        )

    def _named(self, name: str, row: int) -> list[int]:
        roles = self.role_ids[row]
        if name in _ROLE_ID:
            return (roles == _ROLE_ID[name]).nonzero().flatten().tolist()
        is_real = roles != _ROLE_ID["pad"]
        is_generated = roles == _ROLE_ID["generated"]
        prompt = (is_real & ~is_generated).nonzero().flatten().tolist()
        match name:
            case "all":
                return is_real.nonzero().flatten().tolist()
            case "text":
                return (is_real & (roles != _ROLE_ID["image"])).nonzero().flatten().tolist()
            case "prompt":
                return prompt
            case "prompt_text":
                return (is_real & ~is_generated & (roles != _ROLE_ID["image"])).nonzero().flatten().tolist()
            case "last":
                return prompt[-1:]
            case "predicting":
                return prompt[-1:] + is_generated.nonzero().flatten().tolist()
            case "last_row":
                if not self.images[row]:
                    return []
                span = self.images[row][-1]
                return list(span.patch_positions[-span.grid.n_cols :])
        words = f"A word of the text is layout.find({name!r}), an object in the picture layout.region(mask)."
        raise unknown_name(
            name, (*ROLES, *DERIVED_NAMES), PICTURE_NAMES, "positions of the vision tower", otherwise=words
        )

    def _in_region(self, region: Region, row: int) -> Iterable[int]:
        if region.row >= self.n_rows:
            raise PositionError(
                "Region belongs to another batch",
                f"a region of row 0 to {self.n_rows - 1}",
                f"row {region.row}",
            )
        if region.span not in self.images[region.row]:
            raise PositionError(
                "Region belongs to another picture or layout",
                f"a region of the images at "
                f"{[(span.fingerprint, span.start) for span in self.images[region.row]]} "
                f"(picture, first position)",
                (region.span.fingerprint, region.span.start),
                "Make it from this layout, or move it with region.on(layout.image_span()).",
            )
        return region.positions if region.row == row else ()

    # Regions

    def region(self, mask: object, image: int = 0, row: int = 0, threshold: float | int = 0.0) -> Region:
        """The patches that saw the masked pixels of the original picture.

        The mask takes the way of the pixels: the same pad, resize and crop.

        Args:
            mask: booleans (or 0 and 1) [height width] at the picture's own size, as an array,
                tensor or PIL image.
            image: which image of the row.
            row: which row of the batch.
            threshold: a patch belongs if more than this share of its area is masked; at 0.0 any
                overlap counts.

        Raises:
            InputError: a mask of another size, an empty one, or one that the crop cut away.
        """
        span = self.image_span(image, row)
        patches = covered_patches(span, mask, threshold)
        return Region(span, self._row(row), patches, image % len(self.images[row]))

    def patches(
        self,
        rows: int | slice | Sequence[int] | Tensor | np.ndarray | None = None,
        cols: int | slice | Sequence[int] | None = None,
        *,
        image: int = 0,
        row: int = 0,
    ) -> Region:
        """Patches by their place in the grid: rows and columns, or one boolean patch mask.

        `layout.patches()` is the whole image, `layout.patches(rows=-1)` its last row of patches,
        and `layout.patches(mask)` a boolean [patch_row patch_col].
        """
        span = self.image_span(image, row)
        patches = patches_at(span, rows, cols)
        return Region(span, self._row(row), patches, image % len(self.images[row]))

    # Words

    def find(self, word: str, row: int = 0, occurrence: int | None = None) -> tuple[int, ...]:
        """The positions of a whole word in a row's prompt and generated text; () if absent.

        "cat" is not found in "category"; a word of several pieces has all their positions; case
        matters.

        Args:
            word: one or more words.
            row: the row of the batch.
            occurrence: which occurrence alone (0 the first, -1 the last); None takes all.
        """
        if not word.strip():
            raise PositionError("Search failed", "a word", repr(word))
        is_text = [role not in ("pad", "image") for role in self.roles(row)]
        found = find_words(self.strings[self._row(row)], word.strip(), is_text)
        if occurrence is None:
            return tuple(sorted({position for positions in found for position in positions}))
        if not -len(found) <= occurrence < len(found):
            return ()
        return found[occurrence]

    # Other layouts

    def extended(
        self,
        new: int | Sequence[Sequence[str]],
        is_pad: Bool[Tensor, "batch new_pos"] | None = None,
    ) -> "TokenLayout":
        """The layout with generated positions after it.

        Args:
            new: the texts of the new positions, row by row, or only how many there are.
            is_pad: True where a row had already ended.
        """
        texts = [[""] * new] * self.n_rows if isinstance(new, int) else [list(row) for row in new]
        if len(texts) != self.n_rows or len({len(row) for row in texts}) > 1:
            raise InputError(
                "Layout cannot be extended", f"{self.n_rows} rows of one length",
                [len(row) for row in texts],
            )  # fmt: skip
        added = torch.full((self.n_rows, len(texts[0])), _ROLE_ID["generated"], dtype=torch.int8)
        if is_pad is not None:
            added = added.masked_fill(is_pad.to(added.device), _ROLE_ID["pad"])
        return replace(
            self,
            role_ids=torch.cat([self.role_ids, added], dim=1),
            strings=tuple(
                (*old, *row) for old, row in zip(self.strings, texts, strict=True)
            ),
        )  # fmt: skip

    def row(self, row: int) -> "TokenLayout":
        """One row alone, without the padding before and after it."""
        row = self._row(row)
        real = self._named("all", row)
        start, stop = (real[0], real[-1] + 1) if real else (0, 0)
        return TokenLayout(
            self.role_ids[row : row + 1, start:stop],
            (tuple(replace(s, start=s.start - start) for s in self.images[row]),),
            (self.strings[row][start:stop],),
            min(self.n_prompt, stop) - start,
        )

    def __repr__(self) -> str:
        n_images = [len(spans) for spans in self.images]
        return f"TokenLayout(batch={self.n_rows}, pos={self.n_positions}, images={n_images})"

    def _repr_html_(self) -> str:
        from vlm_lens.layout.drawing import legend_html, tokens_html

        rows = [tokens_html(self.strings[row], self.roles(row)) for row in range(self.n_rows)]
        present = sorted(set(self.role_ids.flatten().tolist()))
        return "".join(rows) + legend_html([ROLES[number] for number in present])

    def _row(self, row: int) -> int:
        if not -self.n_rows <= row < self.n_rows:
            raise PositionError("Row does not exist", f"a row of the batch, which has {self.n_rows}", f"row={row}")
        return row % self.n_rows

"""What `AttentionFlow` found: shares of attention by layer, query, head and group, and maps over the picture."""

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.errors import EmptySelectionError, HookError, PositionError
from vlm_lens.layout import ImageSpan, PictureLayout, Selector, TokenLayout
from vlm_lens.plotting.attention_shares import attention_shares
from vlm_lens.plotting.share_bands import share_bands
from vlm_lens.probes.attention.attention_histogram import AttentionHistogram
from vlm_lens.probes.attention.attention_map import AttentionMap

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class FlowReading:
    """Attention of some queries, in the order of rows and positions; rows after a row's end are left out.

    Attributes:
        shares: what each query gives to each group; sums to 1 over groups.
        maps: what each query gives to each image position of its row, in order; NaN where a row has fewer.
        layers: the layers read.
        heads: the heads kept; None where they were averaged, and the head axis has length 1.
        groups: the groups that occur.
        rows: the row of each query (the picture, in the vision tower).
        positions: where each query stands, absolute in its row.
        sequences: what the positions are.
        pictures: the pictures, or None.
        images: the pictures as opened, where they are known.
        is_rolled_out: whether each layer stands for all up to it: the result of `AttentionRollout`.
    """

    shares: Float[Tensor, "layer query head group"]
    maps: Float[Tensor, "layer query head image_pos"]
    layers: tuple[int, ...]
    heads: tuple[int, ...] | None
    groups: tuple[str, ...]
    rows: Int[Tensor, " query"]
    positions: Int[Tensor, " query"]
    sequences: Sequences
    pictures: PictureLayout | None = None
    images: tuple[Any, ...] = ()
    is_rolled_out: bool = False

    # Queries

    @property
    def steps(self) -> Int[Tensor, " query"]:
        """The pass of each query: 0 for the prompt, 1 for the first generated token."""
        if isinstance(self.sequences, PictureLayout):
            return torch.zeros_like(self.positions)
        return (self.positions - self.sequences.n_prompt + 1).clamp(min=0)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The text of each query's position; "" for a picture's."""
        if isinstance(self.sequences, PictureLayout):
            return ("",) * len(self.rows)
        strings = self.sequences.strings
        return tuple(
            strings[row][place] for row, place in zip(self.rows.tolist(), self.positions.tolist(), strict=True)
        )

    def at(self, queries: Selector, heads: Any = None) -> "FlowReading":
        """Some of the queries alone: `reading.at(layout.find("cat"))` are the tokens that name an object.

        Args:
            queries: as in `AttentionFlow`; with the generated positions.
            heads: some of the heads kept; None for all.

        Raises:
            EmptySelectionError: none of these was read.
            HookError: heads that were not kept.
        """
        is_kept = self.sequences.mask(queries)[self.rows, self.positions]
        if not bool(is_kept.any()):
            raise EmptySelectionError("Queries of a reading", "some of those that were read", f"none for {queries!r}")
        chosen = list(range(self.shares.shape[2]))
        if heads is not None:
            wanted = [heads] if isinstance(heads, int) else list(heads)
            if self.heads is None or not set(wanted) <= set(self.heads):
                kept = "their mean" if self.heads is None else ", ".join(map(str, self.heads))
                raise HookError(
                    "Heads of a reading", f"heads that were kept ({kept})", heads, "keeps='heads' keeps all."
                )
            chosen = [self.heads.index(head) for head in wanted]
        found = self._chosen(is_kept)
        return replace(
            found,
            shares=found.shares[:, :, chosen],
            maps=found.maps[:, :, chosen],
            heads=None if self.heads is None else tuple(self.heads[place] for place in chosen),
        )

    def row(self, row: int) -> "FlowReading":
        """One row of the batch alone (its pictures, in the vision tower); its number stays.

        Raises:
            PositionError: a row without queries.
        """
        read = [self._row_of(sequence) for sequence in self.rows.tolist()]
        if row not in read:
            known = ", ".join(map(str, dict.fromkeys(read)))
            raise PositionError("Row was not read", f"one of {known}", f"row={row}")
        return self._chosen(torch.tensor(read) == row)

    # Image tokens

    @property
    def image_attention(self) -> Float[Tensor, "batch layer image_pos"]:
        """What each image position gets, mean over queries and heads; NaN in a row without queries or positions.

        The ranking of image tokens by layer; `image_pos` counts the row's image positions in order.
        """
        n_rows, _ = self.sequences.shape
        of_rows = [self.maps[:, self.rows == row] for row in range(n_rows)]
        return torch.stack([reduce(one, "layer query head image -> layer image", "mean") for one in of_rows])

    def map(self, image: int = 0, row: int | None = None) -> AttentionMap:
        """Attention over the patches of a picture, mean over the row's queries and heads.

        Args:
            image: which image of the row.
            row: which row of the batch, in the vision tower the row of the picture; None takes the first with queries.

        Raises:
            PositionError: the row has no such image, or no query.
        """
        if row is None:
            row = self._row_of(int(self.rows[0]))
        place, reading_row, span, columns = self._picture(image, row)
        if not bool((self.rows == reading_row).any()):
            raise PositionError("Map of attention", f"a row with queries: {sorted(set(self.rows.tolist()))}", row)
        values = self.image_attention[reading_row][:, columns.start : columns.stop]
        grid = rearrange(values, "layer (row col) -> layer row col", row=span.grid.n_rows)
        picture = self.images[place] if place < len(self.images) else None
        prefix = "rollout up to layer " if self.is_rolled_out else "attention of layer "
        return AttentionMap(grid, tuple(map(str, self.layers)), span, row, image, picture, prefix)

    def histogram(self, n_bins: int = 40) -> AttentionHistogram:
        """How attention to image tokens is distributed, by layer: one value for each query, head and image position."""
        values = rearrange(self.maps, "layer query head image -> layer (query head image)")
        return AttentionHistogram.of(values, tuple(map(str, self.layers)), n_bins)

    # Views

    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over queries and rows of each group's share, by layer; heads are averaged first.

        The deviation is the population's. Columns: layer, group, mean, std, n.
        """
        shares = reduce(self.shares.double(), "layer query head group -> layer query group", "mean")
        n_layers, n_queries, n_groups = shares.shape
        return pd.DataFrame(
            {
                "layer": np.repeat(self.layers, n_groups),
                "group": np.tile(self.groups, n_layers),
                "mean": shares.mean(dim=1).flatten().numpy(),
                "std": shares.std(dim=1, correction=0).flatten().numpy(),
                "n": n_queries,
            }
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row a share: row, layer, head (where heads were kept), step, position, token, group, share."""
        layer, query, head, group = (axis.flatten() for axis in np.indices(self.shares.shape))
        columns = {"row": self.rows.numpy()[query], "layer": np.asarray(self.layers)[layer]}
        if self.heads is not None:
            columns["head"] = np.asarray(self.heads)[head]
        return pd.DataFrame(
            {
                **columns,
                "step": self.steps.numpy()[query],
                "position": self.positions.numpy()[query],
                "token": np.asarray(self.tokens, dtype=object)[query],
                "group": np.asarray(self.groups, dtype=object)[group],
                "share": self.shares.flatten().numpy(),
            }
        )

    def plot(self) -> "go.Figure":
        """Shares by layer: stacked bars of a single query; mean and standard deviation of several."""
        mean = reduce(self.shares.double(), "layer query head group -> layer query group", "mean").numpy()
        names = tuple(map(str, self.layers))
        if mean.shape[1] == 1:
            return attention_shares(mean[:, 0], self.groups, names)
        return share_bands(mean.mean(axis=1), mean.std(axis=1), self.groups, names, n=mean.shape[1])

    def plot_map(self, image: int = 0, row: int | None = None, region: Any = None) -> "go.Figure":
        """The map over a picture, with a slider over layers; see `map`."""
        return self.map(image, row).plot(region)

    def __repr__(self) -> str:
        heads = "mean over heads" if self.heads is None else f"{len(self.heads)} heads"
        counts = f"{len(self.layers)} layers, {len(self.rows)} queries"
        return f"FlowReading({counts}, {heads}, groups {', '.join(self.groups)})"

    def _repr_html_(self) -> str:
        table = self.summary().pivot(index="layer", columns="group", values="mean")[list(self.groups)]
        return f"<b>{escape(repr(self))}</b>{table.to_html(float_format='{:.1%}'.format)}"

    def _chosen(self, is_kept: Bool[Tensor, " query"]) -> "FlowReading":
        return replace(
            self,
            shares=self.shares[:, is_kept],
            maps=self.maps[:, is_kept],
            rows=self.rows[is_kept],
            positions=self.positions[is_kept],
        )

    def _row_of(self, row: int) -> int:
        """The row of the batch that a sequence belongs to; in the vision tower each is a picture."""
        return self.sequences.pictures[row].row if isinstance(self.sequences, PictureLayout) else row

    def _picture(self, image: int, row: int) -> tuple[int, int, ImageSpan, range]:
        """A picture's number, the row of its queries, its span, and its patches among the row's image positions."""
        pictures = () if self.pictures is None else self.pictures.pictures
        found = [place for place, one in enumerate(pictures) if (one.row, one.image) == (row, image)]
        if not found:
            raise PositionError("Picture does not exist", "one of the batch", f"image={image} of row={row}")
        assert self.pictures is not None
        (place,) = found
        span = pictures[place].span or ImageSpan(0, self.pictures.grid)
        if isinstance(self.sequences, PictureLayout):
            return place, place, span, range(span.grid.n_patches)
        assert isinstance(self.sequences, TokenLayout)
        held = self.sequences.positions("image", row)
        start = held.index(span.patch_positions.start)
        return place, row, span, range(start, start + span.grid.n_patches)

"""The result of direct logit attribution: who adds how much to a logit, and from where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from einops import einsum, rearrange
from jaxtyping import Float

from vlm_lens.attachments import Read, Record
from vlm_lens.attachments.naming.hook_names import heads_of, layers_of
from vlm_lens.errors import HookError, PositionError
from vlm_lens.layout import ImageSpan, Region, TokenLayout
from vlm_lens.plotting import PatchPicture
from vlm_lens.plotting.attribution_bars import attribution_bars
from vlm_lens.plotting.attribution_by_head import attribution_by_head
from vlm_lens.plotting.attribution_maps import attribution_maps
from vlm_lens.plotting.attribution_tokens import attribution_tokens
from vlm_lens.plotting.seen_picture import patch_picture
from vlm_lens.probes.attribution.residual_ledger import Component, Page


class Query(NamedTuple):
    """A position whose logit is explained: its row, its absolute position, the step that ran it, what is explained."""

    row: int
    position: int
    step: int
    explains: str


@dataclass(frozen=True, eq=False)
class LogitAttribution:
    """What each component adds directly to a logit (or a difference of two), at each position asked for.

    Attributes:
        queries: the positions, in the order of the run.
        components: what adds to the stream, in the order of the model; last the biases behind it.
        values: what each adds, in units of the logit.
        logits: the logit, or difference, itself.
        layers, heads: those that were told apart.
        sources: of each of these heads, what it adds by reading each position; None unless asked for by position.
        layout: what the positions are.
        images: the pictures as opened, where known.
    """

    queries: tuple[Query, ...]
    components: tuple[Component, ...]
    values: Float[np.ndarray, "query component"]
    logits: Float[np.ndarray, " query"]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    sources: Float[np.ndarray, "query layer head key_pos"] | None
    layout: TokenLayout | None
    images: tuple[Any, ...] = ()

    def row(self, row: int) -> "LogitAttribution":
        """The positions of one row of the batch alone; its number stays.

        Raises:
            PositionError: a row of which nothing was read.
        """
        kept = [place for place, query in enumerate(self.queries) if query.row == row]
        if not kept:
            known = ", ".join(map(str, dict.fromkeys(query.row for query in self.queries)))
            raise PositionError("Row was not read", f"one of {known}", f"row={row}")
        return replace(
            self,
            queries=tuple(self.queries[place] for place in kept),
            values=self.values[kept],
            logits=self.logits[kept],
            sources=None if self.sources is None else self.sources[kept],
        )

    @property
    def error(self) -> float:
        """How far the sum is from the logit, at worst, as a share of the largest contribution."""
        off = np.abs(self.values.sum(axis=1) - self.logits)
        return float((off / np.abs(self.values).max(axis=1)).max())

    def by_head(self, query: int = 0) -> Float[np.ndarray, "layer head"]:
        """What each head adds.

        Raises:
            HookError: where heads were not told apart.
        """
        places = {one: place for place, one in enumerate(self.components)}
        wanted = [[places.get(Component("head", layer, head)) for head in self.heads] for layer in self.layers]
        if None in wanted[0]:
            raise HookError("Heads were not told apart", "by='head' or 'position'", "by='component'")
        return self.values[query][np.array(wanted)]

    def remainder(self, query: int = 0) -> Float[np.ndarray, "layer head"]:
        """What each head adds that it reads from no position: 0 but for rounding, unless its `hook_z` was written.

        Raises:
            HookError: where positions were not told apart.
        """
        return self.by_head(query) - self._sources()[query].sum(axis=-1)

    def maps(self, query: int = 0, image: int = 0) -> Float[np.ndarray, "layer patch_row patch_col"]:
        """What all heads of each layer together add by reading each patch of a picture.

        Raises:
            HookError: where positions were not told apart.
            PositionError: where the row has no such picture.
        """
        span = self._span(query, image)
        patches = self._sources()[query].sum(axis=1)[:, list(span.patch_positions)]
        return rearrange(patches, "layer (row col) -> layer row col", col=span.grid.n_cols)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a contribution: row, position, step, explains, component, kind, layer, head, contribution.

        Where positions were told apart there is one row for each position that a head read from: with `source`
        (absolute position), `source_role`, `source_token`, `patch_row`, `patch_col`; the rest of a head is `remainder`.
        """
        components = [(one.label, one.kind, one.layer, one.head) for one in self.components]
        if self.sources is None:
            rows = [
                (*query, *component, float(value))
                for query, values in zip(self.queries, self.values, strict=True)
                for component, value in zip(components, values, strict=True)
            ]
            names = [*Query._fields, "component", "kind", "layer", "head", "contribution"]
            return pd.DataFrame(rows, columns=names).astype({"layer": "Int64", "head": "Int64"})
        return pd.concat([self._sources_of(query) for query in range(len(self.queries))], ignore_index=True)

    def plot(self, query: int = 0, image: int = 0, *, region: Region | None = None) -> Any:
        """Bars by layer; by head a heat map, layers x heads; by position a map over the picture, or bars over tokens.

        Args:
            query: which of the positions.
            image: which picture of its row.
            region: patches to outline, where positions were told apart.

        Raises:
            PositionError: a picture that the row has not, or a region of another picture.
            HookError: a region, where positions were not told apart.
        """
        if region is not None:
            self._sources()
        title = self._title(query)
        if self.sources is not None:
            row = self.queries[query].row
            if self.layout is not None and self.layout.images[row]:
                names = ["all", *map(str, self.layers)]
                maps = self.maps(query, image)
                stacked = np.concatenate([maps.sum(axis=0, keepdims=True), maps])
                picture = self._picture(query, image, region)
                return attribution_maps(picture, stacked, names, title=title, prefix="layers: ")
            layout = self.layout
            tokens = () if layout is None else layout.str_tokens(row)
            return attribution_tokens(self.sources[query].sum(axis=(0, 1)), tokens, title=title)
        if any(one.kind == "head" for one in self.components):
            return attribution_by_head(self.by_head(query), self.layers, self.heads, title=title)
        kinds, layers = ([getattr(one, name) for one in self.components] for name in ("kind", "layer"))
        return attribution_bars(kinds, layers, self.values[query], title=title)

    def _title(self, query: int) -> str:
        one = self.queries[query]
        where = f" of row {one.row}" if len({query.row for query in self.queries}) > 1 else ""
        return f"what adds to {one.explains} ({self.logits[query]:+.2f}) at position {one.position}{where}"

    def _sources(self) -> Float[np.ndarray, "query layer head key_pos"]:
        if self.sources is None:
            raise HookError("Positions were not told apart", "DirectLogitAttribution(by='position')", "another")
        return self.sources

    def _span(self, query: int, image: int) -> ImageSpan:
        assert self.layout is not None
        return self.layout.image_span(image, self.queries[query].row)

    def _picture(self, query: int, image: int, region: Region | None) -> PatchPicture:
        row, layout = self.queries[query].row, self.layout
        assert layout is not None
        place = sum(len(spans) for spans in layout.images[:row]) + image % len(layout.images[row])
        opened = self.images[place] if place < len(self.images) else None
        return patch_picture(self._span(query, image), opened, region)

    def _sources_of(self, query: int) -> pd.DataFrame:
        """The tidy frame of one query, position by position."""
        values = self._sources()[query]
        layer, head, source = (axis.ravel() for axis in np.indices(values.shape))
        frame = pd.DataFrame(self.queries[query]._asdict(), index=source)
        frame["layer"], frame["head"] = np.array(self.layers)[layer], np.array(self.heads)[head]
        frame["source"] = source
        if self.layout is not None:
            row = self.queries[query].row
            roles, texts = np.array(self.layout.roles(row)), np.array(self.layout.str_tokens(row), dtype=object)
            frame["source_role"], frame["source_token"] = roles[source], texts[source]
            patch_row, patch_col = _patches_of(self.layout, row)
            frame["patch_row"], frame["patch_col"] = patch_row.take(source), patch_col.take(source)
        frame["contribution"] = values.ravel()
        is_real = source <= self.queries[query].position
        return frame[is_real].reset_index(drop=True)

    def __repr__(self) -> str:
        best = np.argsort(-np.abs(self.values[0]))[:3]
        most = ", ".join(f"{self.components[place].label} {self.values[0, place]:+.2f}" for place in best)
        n, one = len(self.queries), self.queries[0]
        of_first = f"row {one.row}, position {one.position}: " if n > 1 else ""
        return (
            f"LogitAttribution({n} position{'s' if n > 1 else ''}, {len(self.components)} components; {of_first}"
            f"{one.explains}: {self.logits[0]:+.2f} = {most} ...; sum off by {self.error:.1e})"
        )

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>{self.plot()._repr_html_()}"


def attribution_of(
    probe: Any, pages: Sequence[tuple[int, Page]], sources: Sequence[Read], record: Record
) -> LogitAttribution:
    """All passes together, without what was run only because other rows went on.

    Raises:
        EmptySelectionError: nothing is left.
    """
    layout = record.layout
    is_wanted = None if layout is None else layout.mask(probe.positions) & record.counted()
    components = list(dict.fromkeys(one for _, page in pages for one in page.components[:-1]))
    components = [*components, pages[0][1].components[-1]]
    queries, values, logits, kept = [], [], [], []
    for step, page in pages:
        places = [components.index(one) for one in page.components]
        for query, (row, position) in enumerate(zip(page.rows.tolist(), page.positions.tolist(), strict=True)):
            kept.append(is_wanted is None or bool(is_wanted[row, position]))
            queries.append(Query(row, position, step, page.contrasts[query].label(record.model)))
            values.append(np.zeros(len(components)))
            values[-1][places] = page.values[query].double().numpy()
            logits.append(float(page.logits[query]))
    chosen = np.flatnonzero(kept)
    if not len(chosen):
        raise probe.nothing_read()
    cfg = record.model.cfg
    by_source = _by_source(pages, sources) if probe.by == "position" else None
    return LogitAttribution(
        queries=tuple(queries[place] for place in chosen),
        components=tuple(components),
        values=np.stack(values)[chosen],
        logits=np.array(logits)[chosen],
        layers=layers_of(probe.layers, cfg.n_layers, on_empty=probe.on_empty),
        heads=heads_of(probe.heads, cfg.n_heads) or tuple(range(cfg.n_heads)),
        sources=None if by_source is None else by_source[chosen],
        layout=layout,
        images=record.images,
    )


def _by_source(
    pages: Sequence[tuple[int, Page]], reads: Sequence[Read]
) -> Float[np.ndarray, "query layer head key_pos"]:
    """Attention from each query to each position, times what a unit of attention to it adds."""
    layers = sorted({layer for read in reads if (layer := read.here.layer) is not None})
    per_layer = []
    for layer in layers:
        here = [read for read in reads if read.here.layer == layer]
        moved = torch.cat([read.value for read in here if read.here.name.endswith("hook_v")], dim=1)
        patterns = {read.here.step: read.value for read in here if read.here.name.endswith("hook_pattern")}
        rows = []
        for step, page in pages:
            pattern = patterns[step].to(moved.device)
            n_keys = pattern.shape[-1]
            of_rows = moved[page.rows.to(moved.device), :n_keys]
            added = einsum(pattern, of_rows, "query head key, query key head -> query head key")
            added = added / page.scale.to(added.device)[:, None, None]
            rows.append(torch.nn.functional.pad(added, (0, moved.shape[1] - n_keys)))
        per_layer.append(torch.cat(rows))
    return torch.stack(per_layer, dim=1).double().cpu().numpy()


def _patches_of(layout: TokenLayout, row: int) -> tuple[Any, Any]:
    """For each position the row and column of the patch that it is; missing where it is none."""
    rows, cols = (pd.array([pd.NA] * layout.n_positions, dtype="Int64") for _ in range(2))
    for span in layout.images[row]:
        for patch, position in enumerate(span.patch_positions):
            rows[position], cols[position] = divmod(patch, span.grid.n_cols)
    return rows, cols

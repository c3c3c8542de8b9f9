"""The plan of a sweep: for each condition the way it takes, the rows and layers computed, and the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.rows import TowerRows
from vlm_lens.recompute.variant import Variant

if TYPE_CHECKING:
    import pandas as pd

Way = Literal["as it is", "rows", "from a layer", "decoder", "picture", "by itself"]
"""The clean result as it is; some rows, against the clean keys and values; all rows from a layer on; the decoder on the
clean image features; tower and decoder; a full run by itself, where the reach is unknown."""


MOST_LINES = 40
"""Of a table that is shown; `to_dataframe` has them all."""


@dataclass(frozen=True)
class PlanLine:
    """One line of the plan.

    Attributes:
        name: the condition.
        way: see `Way`.
        tower: the tower's layers and rows that are computed, in words; "" for none.
        decoder: the decoder's.
        flops: floating-point operations of reading the prompt under this condition, beside what all share.
        why: why it is run by itself; "" otherwise.
    """

    name: str
    way: Way
    tower: str
    decoder: str
    flops: float
    why: str = ""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do: its lines, and the work against the naive loop.

    Attributes:
        lines: one for each condition.
        shared_flops: of what is computed once for all (each time, where the conditions run in several parts).
        pass_flops: of one plain forward pass that gives the logits that are wanted, or the last position's.
        n_parts: in how many parts the conditions that share are run, within the memory bound.
        n_new: how many tokens are generated afterwards at most. They are not among the FLOPs: each condition decodes
            its own, as many as in the naive loop, with all others in one batch.
    """

    lines: tuple[PlanLine, ...]
    shared_flops: float
    pass_flops: float
    n_parts: int = 1
    n_new: int = 0

    @property
    def flops(self) -> float:
        """Of the whole sweep."""
        return self.n_parts * self.shared_flops + sum(line.flops for line in self.lines)

    @property
    def n_passes(self) -> float:
        """The work in plain forward passes."""
        return self.flops / self.pass_flops

    @property
    def share(self) -> float:
        """The work as a share of the naive loop's: one pass for each condition."""
        return self.n_passes / len(self.lines)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a condition."""
        import pandas as pd

        columns = ["name", "way", "tower", "decoder", "flops", "why"]
        frame = pd.DataFrame([[getattr(line, name) for name in columns] for line in self.lines], columns=columns)
        frame["passes"] = frame["flops"] / self.pass_flops
        return frame.rename(columns={"name": "condition"})

    @property
    def summary(self) -> str:
        """The work in a sentence."""
        parts = "" if self.n_parts <= 1 else f" in each of {self.n_parts} parts"
        shared, n_loop = self.shared_flops / self.pass_flops, len(self.lines)
        new = "" if not self.n_new else f"; then up to {_counted(self.n_new, 'token')} each, decoded as one batch"
        return (
            f"{_counted(n_loop, 'condition')} in {self.n_passes:.2f} forward passes ({shared:.2f} shared{parts}), "
            f"{self.share:.1%} of the naive loop's {n_loop}{new}"
        )

    def _shown(self) -> "pd.DataFrame":
        """The table without FLOPs, and without columns that say nothing."""
        frame = self.to_dataframe().drop(columns="flops")
        frame["passes"] = frame["passes"].map("{:.3f}".format)
        return frame.drop(columns=[name for name in ("tower", "decoder", "why") if not frame[name].any()])

    def __repr__(self) -> str:
        return f"{self.summary}\n{self._shown().to_string(index=False, max_rows=MOST_LINES)}"

    def _repr_html_(self) -> str:
        table: str = self._shown().to_html(index=False, max_rows=MOST_LINES)
        return f"<b>{escape(self.summary)}</b>{table}"


def plan_of(planned: Planned, names: Sequence[str], variants: Sequence[Variant]) -> SweepPlan:
    """The plan of some of what was planned, in order; what is not among them is shared."""
    work = _Work(planned)
    lines = [_line(planned, work, name, one) for name, one in zip(names, variants, strict=True)]
    shared = work.shared() if planned.in_parts else 0.0
    return SweepPlan(tuple(lines), shared, work.one_pass())


def _line(planned: Planned, work: "_Work", name: str, variant: Variant) -> PlanLine:
    if variant.reach.why_in_full:
        return PlanLine(name, "by itself", "", "", work.one_pass(), variant.reach.why_in_full)
    assert variant.decoder is not None
    tower = None if variant.vision is None else variant.vision
    flops = work.decoder(variant.decoder) + work.unembedding(len(variant.ending))
    if tower is not None:
        flops += work.tower(tower) + work.projector(len(variant.features_changed))
    return PlanLine(
        name, _way(planned, variant), "" if tower is None else _shown(tower), _shown(variant.decoder), flops
    )


def _way(planned: Planned, variant: Variant) -> Way:
    assert variant.decoder is not None
    if variant.vision is not None and variant.vision.first_layer is not None:
        return "picture"
    first = variant.decoder.first_layer
    if first is None:
        return "rows" if len(variant.ending) else "as it is"
    most = max(len(rows) for rows in variant.decoder.entered if rows is not None)
    if most < planned.n_shared_rows:
        return "decoder" if len(variant.features_changed) else "rows"
    return "from a layer" if first else "decoder"


def _shown(rows: TowerRows) -> str:
    """The layers and rows that are computed, in words."""
    counts = [(layer, len(entered)) for layer, entered in enumerate(rows.entered) if entered is not None]
    if not counts:
        return ""
    least, most = min(n for _, n in counts), max(n for _, n in counts)
    layers = f"layers {counts[0][0]} to {counts[-1][0]}" if len(counts) > 1 else f"layer {counts[0][0]}"
    return f"{layers}, {_counted(most, 'row') if least == most else f'{least} to {most} rows'}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


class _Work:
    """Floating-point operations, two for each multiplication and addition; norms and rotations are left out."""

    def __init__(self, planned: Planned) -> None:
        self.planned, self.batch = planned, planned.entries.input_ids.shape[0]
        self.cfg: TransformerConfig = planned.model.cfg
        is_joined = isinstance(planned.model, JoinedTransformer) and planned.sizes.vision > 0
        self.vision: TransformerConfig | None = planned.model.vision.cfg if is_joined else None
        pixels = planned.entries.pixel_values
        self.n_pictures = 0 if pixels is None else len(pixels)

    def one_pass(self) -> float:
        """A plain forward pass for the logits that are wanted, or else the last position's."""
        rows, n_wanted = np.arange(self.planned.n), max(1, int(self.planned.wanted.sum()))
        layers = self.cfg.n_layers * self._layer(self.cfg, rows, rows, self.batch)
        return self._pictures() + layers + self.unembedding(n_wanted)

    def shared(self) -> float:
        """What all conditions share."""
        rows = np.arange(self.planned.n_shared_rows)
        wanted = np.flatnonzero(self.planned.wanted)
        n_layers, is_cut = self.planned.n_layers, len(wanted) > 0 and not self.planned.ends_are_watched
        layers = max(n_layers - 1, 0) * self._layer(self.cfg, rows, rows, self.batch)
        last = self._layer(self.cfg, rows, wanted if is_cut else rows, self.batch) if n_layers else 0.0
        return self._pictures() + layers + last + self.unembedding(len(wanted))

    def decoder(self, rows: TowerRows) -> float:
        """A variant's rows of the decoder."""
        return self._rows(self.cfg, rows, self.batch)

    def tower(self, rows: TowerRows) -> float:
        """A variant's rows of the tower."""
        return 0.0 if self.vision is None else self._rows(self.vision, rows, self.n_pictures)

    def projector(self, n_rows: int) -> float:
        """Some rows through the projector."""
        if self.vision is None or not n_rows:
            return 0.0
        weights = sum(one.numel() for one in self.planned.model.projector.parameters() if one.ndim == 2)
        return 2.0 * weights * n_rows * self.n_pictures

    def unembedding(self, n_rows: int) -> float:
        """Some rows through the unembedding."""
        return 2.0 * self.batch * n_rows * self.cfg.d_model * self.cfg.d_vocab

    def _pictures(self) -> float:
        if self.vision is None:
            return 0.0
        sizes = self.planned.sizes
        rows = np.arange(sizes.vision)
        layers = sizes.depth * self._layer(self.vision, rows, rows, self.n_pictures)
        kernel = sum(one.numel() for one in self.planned.model.vision.embed.parameters() if one.ndim == 4)
        patches = 2.0 * kernel * (sizes.vision - sizes.n_class_tokens) * self.n_pictures
        return patches + layers + self.projector(sizes.features)

    def _rows(self, cfg: TransformerConfig, rows: TowerRows, batch: int) -> float:
        layers = zip(rows.entered, rows.asking, strict=True)
        return sum((self._layer(cfg, entered, asking, batch) for entered, asking in layers if entered is not None), 0.0)

    def _layer(self, cfg: TransformerConfig, entered: Any, asking: Any, batch: int) -> float:
        """One layer: keys and values of every row that enters, everything else of those that ask."""
        heads, d_mlp = cfg.n_heads * cfg.d_head, cfg.d_mlp or 0
        keys = 2.0 * cfg.d_model * 2 * cfg.n_kv * cfg.d_head
        n_mlp = 3 if cfg.gated_mlp else 2
        others = 2.0 * cfg.d_model * (2 * heads + n_mlp * d_mlp)
        n_keys = (
            asking.sum() + len(asking) if cfg.attention_dir == "causal" else len(asking) * self.planned.sizes.vision
        )
        return batch * (len(entered) * keys + len(asking) * others + 4.0 * heads * float(n_keys))

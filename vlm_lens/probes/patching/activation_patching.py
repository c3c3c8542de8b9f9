"""Activation patching as a grid: layers x positions x kind of activation, each patched by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vlm_lens.attachments import Again, Measure
from vlm_lens.attachments.naming.hook_names import heads_of, layers_of
from vlm_lens.attachments.naming.towers import n_heads_at, tower_named
from vlm_lens.attachments.patching.matching import source_rows
from vlm_lens.attachments.patching.source import Source
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, HookError, InputError
from vlm_lens.interventions import ActivationPatch
from vlm_lens.layout import PictureLayout, TokenLayout
from vlm_lens.probes.named_groups import named_groups
from vlm_lens.probes.patching.answer_metrics import AnswerMetric, last_logits
from vlm_lens.probes.patching.patched_logits import patched_logits
from vlm_lens.probes.patching.patching_grid import PatchingGrid

_IN_THE_BLOCK = ("resid_", "attn_out", "mlp_out", "mlp_in", "attn_in", "q_input", "k_input", "v_input")
_OF_NEURONS = ("pre", "pre_linear", "post")


class Cell(NamedTuple):
    """One patch of the grid: its place, and the writer that makes it."""

    place: tuple[int, int, int, int]
    writer: ActivationPatch


@dataclass(frozen=True, eq=False)
class ActivationPatching(Measure):
    """How much of an answer each activation carries: one is patched at a time, and the metric taken.

    For a clean source and a corrupted run (denoising) a cell shows what restores the clean answer; the other way
    round (noising) what breaks it. Writers that come before it are in force in every cell. `run[patching]` is a
    `PatchingGrid`. Of each cell only those rows and layers are computed that its patch changes and its metric reads:
    metrics of answers read the last prompt position, a function of the logits all of them. Where other hooks stand at
    the model, or the run was given options, each cell is a forward pass.

    Attributes:
        source: see `ActivationPatch`; a run (`vlm.run(inputs, names_filter=...)`) also gives the clean value.
        metric: `LogitDifference(" Yes", " No")`, `Probability(" Yes")`, `LogProbability(" Yes")`, or a function of the
            logits `[batch pos d_vocab]` that gives one number, or one a row.
        positions: groups of positions that are patched together: `{"object": cat, "rest": ~cat, "words": (...)}`, or a
            list of names such as `["image", "question", "last"]`; None for every position by itself.
        kind: which activation, by transformer_lens's short names: "resid_pre", "resid_mid", "attn_out", "mlp_out",
            "z", "q", "k", "v", "pattern" ...; or several of these.
        layers: which.
        heads: None patches all heads of a kind together, "each" or some heads each by itself.
        tower: "decoder", or "vision" with the tower's own positions.
        source_positions: for groups that are named otherwise in the source, `{group: selector}`.
        source_row, source_layout: see `ActivationPatch`.
        shows_progress: a bar over the cells.

    Source: Meng et al., "Locating and Editing Factual Associations in GPT", 2022; the kinds are those of
    `transformer_lens.patching`, whose values these are.
    """

    source: Any
    metric: Any
    positions: Any = None
    kind: str | Sequence[str] = "resid_pre"
    layers: Any = "all"
    heads: Any = None
    tower: Literal["decoder", "vision", "text"] = "decoder"
    source_positions: Mapping[str, Any] | None = None
    source_row: int | None = None
    source_layout: TokenLayout | PictureLayout | None = None
    shows_progress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.metric, AnswerMetric) and (isinstance(self.metric, type) or not callable(self.metric)):
            rule, advice = "a metric or a function of logits", "Say which: LogitDifference(' Yes', ' No')."
            raise InputError("metric of ActivationPatching", rule, repr(self.metric), advice)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of activation."""
        return (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)

    def check(self, ground: Ground) -> None:
        """Every patch of the grid, as `ActivationPatch` checks itself; and the metric's tokens.

        Raises:
            EmptySelectionError: groups without positions, unless made to skip these; then only if all are.
            VlmLensError: see `ActivationPatch`.
        """
        self._each_head(ground.model)
        groups = self._groups(ground)
        if unknown := set(self.source_positions or ()) - set(groups):
            rule = f"groups of positions: {', '.join(groups)}"
            raise InputError(f"source_positions of {self!r}", rule, ", ".join(sorted(unknown)))
        # Positions one by one exist on both sides if the whole row does.
        probed = groups if self.positions is not None else {"all positions": slice(None)}
        empty = [name for name, selector in probed.items() if self._is_empty(ground, name, selector)]
        if len(empty) == len(probed):
            raise EmptySelectionError(f"positions of {self!r}", "a group that occurs", f"none of {', '.join(empty)}")
        if isinstance(self.metric, AnswerMetric) and ground.planned.layout is not None:
            self.metric.answers(ground.model, ground.planned.layout.n_rows)

    def measure(self, again: Again) -> PatchingGrid:
        """The metric of every cell, of the run without a patch, and of the source."""
        current = CurrentPass(again.model, again.record.layout, again.record.pictures)
        ground = Ground(again.model, current)
        groups, layers, heads = self._groups(ground), self._depths(again.model), self._each_head(again.model)
        skipped = self.on_empty == "skip" and self.positions is not None
        empty = {name for name, one in groups.items() if skipped and self._is_empty(ground, name, one)}
        wanted = [name not in empty for name in groups]
        cells = [cell for cell in self._cells(again.model, groups, heads) if wanted[cell.place[2]]]
        corrupted = self._number(again.model, again.logits, again.record.layout)
        if isinstance(self.metric, AnswerMetric):
            self.metric.warn_of_spelling(again.model, last_logits(again.logits, again.record.layout))
        values = np.full((len(self.kinds), len(layers), len(groups), len(heads), len(corrupted)), np.nan)
        bar = dict(desc=self.label, unit="patch", total=len(cells), disable=not self.shows_progress)
        of_answers = isinstance(self.metric, AnswerMetric)
        patched = patched_logits(again, [cell.writer for cell in cells], only_last=of_answers)
        found = tqdm(patched, **bar)
        for cell, logits in zip(cells, found, strict=True):
            values[cell.place] = self._number(again.model, logits, again.record.layout)
        return PatchingGrid(
            values, self.kinds, layers, tuple(groups), None if self.heads is None else heads, corrupted,
            self._clean(again, len(corrupted)), _name(self.metric), again.logits.shape[0],
        )  # fmt: skip

    def _cells(self, model: Any, groups: Mapping[str, Any], heads: tuple[Any, ...]) -> Iterator[Cell]:
        """Every patch of the grid; a kind with fewer heads (grouped keys) has fewer cells."""
        for kind, name_of_kind in enumerate(self.kinds):
            for layer, depth in enumerate(self._depths(model)):
                hook = self._hook(model, name_of_kind, depth)
                n_heads = n_heads_at(model, hook)
                for group, (name, selector) in enumerate(groups.items()):
                    for place, head in enumerate(heads):
                        if head is None or n_heads is not None and head < n_heads:
                            yield Cell((kind, layer, group, place), self._writer(hook, name, selector, head))

    def _writer(self, hook: Any, group: str, selector: Any, head: int | None) -> ActivationPatch:
        return ActivationPatch(
            self.source, hook, selector, heads=head, source_positions=(self.source_positions or {}).get(group),
            source_row=self.source_row, source_layout=self.source_layout, name=f"{self.label}, {group}",
        )  # fmt: skip

    def _is_empty(self, ground: Ground, group: str, selector: Any) -> bool:
        """Whether a group has no positions, here or in the source.

        Raises:
            EmptySelectionError: it has none, and that was not to be skipped.
            VlmLensError: see `ActivationPatch`.
        """
        hooks = [self._hook(ground.model, kind, depth) for kind in self.kinds for depth in self._depths(ground.model)]
        try:
            self._writer(hooks, group, selector, None).check(ground)
        except EmptySelectionError:
            if self.on_empty == "raise":
                raise
            return True
        return False

    def _depths(self, model: Any) -> tuple[int, ...]:
        n_layers = tower_named(model, self.tower).transformer.cfg.n_layers
        return layers_of(self.layers, n_layers, f"Layers of the {self.tower} tower", self.on_empty)

    def _each_head(self, model: Any) -> tuple[Any, ...]:
        """The heads to patch one by one; (None,) for all together.

        Raises:
            HookError: heads that the tower has not, or kinds without heads.
        """
        if self.heads is None:
            return (None,)
        for kind in self.kinds:
            if n_heads_at(model, self._hook(model, kind, 0)) is None:
                raise HookError(repr(self), "kinds that tell heads apart: z, q, k, v, pattern", kind)
        n_heads = tower_named(model, self.tower).transformer.cfg.n_heads
        chosen = heads_of(None if self.heads == "each" else self.heads, n_heads)
        return tuple(range(n_heads)) if chosen is None else chosen

    def _hook(self, model: Any, kind: str, layer: int) -> str:
        """A hook's name from its short name."""
        return str(model.known_name(tower_named(model, self.tower).hook_name(layer, _in_a_layer(kind))))

    def _groups(self, ground: Ground) -> dict[str, Any]:
        """The groups by name; every position by itself where none are given."""
        given = self.positions
        if given is None:
            sequences = ground.planned.sequences(self.tower)
            if sequences is None:
                raise InputError(f"positions of {self!r}", "groups, since positions are unknown here", "None")
            names = [""] * sequences.n_positions
            if isinstance(sequences, TokenLayout) and sequences.n_rows == 1:
                names = [f" {text}" for text in sequences.str_tokens()]
            return {f"{position}{name}": position for position, name in enumerate(names)}
        return named_groups(given)

    def _number(self, model: Any, logits: Tensor, layout: TokenLayout | None) -> np.ndarray:
        """What the metric says: one number, or one a row."""
        if isinstance(self.metric, AnswerMetric):
            last = last_logits(logits, layout)
            found = self.metric.values(last, self.metric.answers(model, len(last)))
        else:
            found = torch.as_tensor(self.metric(logits))
        if found.ndim > 1:
            raise InputError(f"metric of {self!r}", "one number, or one a row", f"shape {list(found.shape)}")
        return found.detach().reshape(-1).double().cpu().numpy()

    def _clean(self, again: Again, n_numbers: int) -> np.ndarray | None:
        """The metric of the source; None where its logits are unknown."""
        origin, here = Source.of(self.source, self.source_layout), again.record.layout
        if origin.logits is None:
            return None
        n_there = len(origin.logits)
        rows = range(n_there) if here is None else source_rows(here, origin.layout, n_there, self.source_row)
        logits = origin.logits
        if isinstance(self.metric, AnswerMetric):
            logits = last_logits(logits, origin.layout)[:, None]
        found = self._number(again.model, logits[list(rows)], None)
        return found if len(found) == n_numbers else None

    def fingerprint_parts(self) -> list[Any]:
        """What it says; of the source, the activations that are patched."""
        source, endings = Source.of(self.source, self.source_layout), tuple(map(_in_a_layer, self.kinds))
        kept = {name: source.activations[name] for name in source.activations if name.endswith(endings)}
        fields = [self.metric, self.positions, self.kind, self.layers, self.heads, self.tower, self.source_positions]
        return [type(self).__qualname__, kept, source.layout, self.source_row, *fields]


def _in_a_layer(kind: str) -> str:
    """A hook's name in its layer, from transformer_lens's short name."""
    place = "" if kind.startswith(_IN_THE_BLOCK) else "mlp." if kind in _OF_NEURONS else "attn."
    return kind if "hook_" in kind else f"{place}hook_{kind}"


def _name(metric: Any) -> str:
    return repr(metric) if isinstance(metric, AnswerMetric) else getattr(metric, "__name__", type(metric).__name__)

"""Activation patching: what another run had at some positions, written into this one."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor

from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.feature_shape import activation_dtype, feature_shape
from vlm_lens.attachments.naming.towers import n_heads_at, place_of
from vlm_lens.attachments.patching.matching import Match, matched, source_rows
from vlm_lens.attachments.patching.source import Source
from vlm_lens.attachments.position_writer import PositionWriter
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.ground import Ground, available
from vlm_lens.attachments.verification.expected import brought_over
from vlm_lens.errors import EmptySelectionError, HookError, PositionError
from vlm_lens.layout import PictureLayout, Selector
from vlm_lens.model.hooked_root import names_fitting, position_axis

BY_KEY = {"hook_attn_scores": -torch.inf, "hook_pattern": 0.0}
"""Activations whose last axis counts keys, and what they hold for a key that a query does not see."""


@dataclass(frozen=True, eq=False)
class ActivationPatch(PositionWriter):
    """Writes another run's activations at some positions. From a clean run it denoises, from a corrupted one it noises.

    Positions are named on both sides, so the sequences may differ in length. Each row needs as many positions in the
    source as here; they are matched in ascending order. Where `source_positions` is left out, the same selector is
    meant there: a name is looked up in the source's own layout, a region is the same patches of the source's picture,
    a number is the same column. One row of a source serves every row.

    At hooks of the vision tower and the projector rows are pictures. Scores and pattern are selected by query, and
    need the same keys on both sides. Under generation, positions in the prompt are written while it is read.

    Attributes:
        source: `vlm.run(..., names_filter=...)`, a generation with a cache, an `ActivationCache`, or a mapping from
            hook names to tensors `[batch pos ...]`. Held as it is, not copied: leave it unchanged.
        hook: a name, several, or a pattern like `"blocks.*.attn.hook_z"`.
        positions: of this run.
        layers: which of a pattern's layers.
        heads: at hooks that tell heads apart (key heads at `hook_k`, `hook_v`); None for all.
        source_positions: of the source; None for the same selector.
        source_row: the source's row that every row is given; None for its only one, or row by row.
        source_layout: what a cache's positions are: a layout, or the inputs that have it; left out, they are taken to
            be this run's. A run knows by itself.

    Raises:
        ActivationError: before the model runs, for activations that the source did not keep.
        PositionError: before the model runs, for rows or positions that do not go together, with both counts.
        HookError: before the model runs, for activations of another shape, or that are not finite.

    Source: Vig et al., "Investigating Gender Bias in Language Models Using Causal Mediation Analysis", 2020; Meng et
    al., "Locating and Editing Factual Associations in GPT", 2022.

    Example:
        >>> from vlm_lens import ActivationPatch, HookedVLM
        >>> from vlm_lens.demo.examples import example_scenes
        >>> vlm, (cat, sheep, *_) = HookedVLM.demo(), example_scenes()
        >>> hook = "blocks.2.hook_resid_pre"
        >>> clean = vlm.run(vlm.prepare(cat.scene.image, "Is there a cat in this image?"), names_filter=hook)
        >>> corrupted = vlm.prepare(sheep.scene.image, "Is there a cat?")
        >>> patched = vlm.run(corrupted, ActivationPatch(clean, hook, "image"))
    """

    source: Any
    hook: Any
    positions: Selector
    _: KW_ONLY
    layers: Any = "all"
    heads: Any = None
    source_positions: Any = None
    source_row: int | None = None
    source_layout: Any = None

    is_local: ClassVar[bool] = True

    @property
    def origin(self) -> Source:
        """The source, with its layouts."""
        return Source.of(self.source, self.source_layout)

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """The source's activation, its positions brought to the places of this run's."""
        source = self.origin.activation(here.name).to(activation.device)
        if here.place == "none":
            return source[list(source_rows(here.sequences, None, len(source), self.source_row))]
        rows, columns, is_written = self._gathered(source, here)
        if not bool(is_written.any()):  # a later pass of a generation
            return activation
        fill = _fill(here.name)
        if fill is None:
            return source[rows[:, None], columns]
        by_query = rearrange(source, "batch head query key -> batch query head key")[rows[:, None], columns]
        taken = rearrange(by_query, "batch query head key -> batch head query key")[..., : here.n_keys]
        # Keys that the source never had came later than its query, so the query does not see them.
        return torch.nn.functional.pad(taken, (0, here.n_keys - taken.shape[-1]), value=fill)

    def expected(self, before: Tensor, here: Here) -> Tensor:
        """The source's activation, brought over position by position, for `run.verify()`."""
        unseen = _fill(here.name) or 0.0
        return brought_over(self.origin, self.positions, self.source_positions, self.source_row, before, here, unseen)

    def fingerprint_parts(self) -> list[Any]:
        """What it says: the activations themselves, wherever they came from."""
        origin = self.origin
        patterns = [self.hook] if isinstance(self.hook, str) else list(self.hook)
        names = dict.fromkeys(name for one in patterns for name in names_fitting(one, origin.activations))
        layouts = [one for one in (origin.layout, origin.pictures) if one is not None]
        kept = {name: origin.activations[name] for name in names}
        fields = [self.hook, self.positions, self.heads, self.layers, self.source_positions, self.source_row]
        return [type(self).__qualname__, kept, layouts, fields]

    def _gathered(
        self, source: Tensor, here: Here
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
        """For each row of this run the source's row, for each position held here the source's, and which are written.

        Worked out once a pass.
        """
        n_held = source.shape[position_axis(here.name)]
        key = ("patch", id(self), here.place, len(source), n_held, here.positions)
        if key not in here.current.memo:
            matches = self._matches(here.sequences, self.origin.sequences(here.place, here.sequences), source, n_held)
            columns = torch.zeros(len(matches), len(here.positions), dtype=torch.long)
            is_written = torch.zeros_like(columns, dtype=torch.bool)
            place_of = {position: place for place, position in enumerate(here.positions)}
            for row, match in enumerate(matches):
                for target, position in zip(match.targets, match.sources, strict=False):
                    if target in place_of:
                        columns[row, place_of[target]] = position
                        is_written[row, place_of[target]] = True
            rows = torch.tensor([match.row for match in matches])
            here.current.memo[key] = tuple(one.to(source.device) for one in (rows, columns, is_written))
        found: tuple[Tensor, Tensor, Tensor] = here.current.memo[key]
        return found

    def _matches(self, here: Sequences, there: Sequences | None, source: Tensor, n_held: int) -> list[Match]:
        rows = source_rows(here, there, len(source), self.source_row)
        return matched(self.positions, self.source_positions, here, there, rows, n_held)

    def check(self, ground: Ground) -> None:
        """As every attachment; and the source has what is written, in the same shape, as many positions a row.

        Raises:
            ActivationError: an activation that the source did not keep.
            HookError: a hook that is not to be patched, activations of another width, or that are not finite.
            PositionError: rows or positions that do not go together, with both counts.
            EmptySelectionError: positions that the source has not at all.
        """
        super().check(ground)
        names, origin = self.hook_names(ground.model), self.origin
        origin.check_has(names, repr(self))
        for name in names:
            if name.endswith("hook_mask"):
                raise HookError(repr(self), "an activation", name, "Masks are written by AttentionKnockout.")
            source, sequences = origin.activation(name), ground.sequences_at(name)
            self._check_shape(ground, name, source)
            source = source.to(activation_dtype(ground.model, name))
            if sequences is None:
                self._check_finite(name, source)
            else:
                there = origin.sequences(place_of(ground.model, name), sequences)
                self._check_positions(name, source, sequences, there, is_whole=ground.planned.step == 0)

    def _check_shape(self, ground: Ground, name: str, source: Tensor) -> None:
        """One position's activation has the shape that it has here."""
        got, is_placeless = tuple(source.shape), place_of(ground.model, name) == "none"
        expected = feature_shape(ground.model, name)
        if expected is None:
            n_heads = n_heads_at(ground.model, name)
            is_right, rule = len(got) == 4 and got[1] == n_heads, f"[batch {n_heads} query_pos key_pos]"
        else:
            axes = "batch" if is_placeless else "batch pos"
            is_right = len(got) > len(axes.split()) and got[len(axes.split()) :] == expected
            rule = f"[{axes} {' '.join(map(str, expected))}]"
        if not is_right:
            raise HookError(f"Source of {self!r} at {name}", rule, list(got), "The source is a run of the same model.")

    def _check_positions(
        self, name: str, source: Tensor, here: Sequences, there: Sequences | None, is_whole: bool
    ) -> None:
        """As many positions in each row of the source as here, all of them numbers.

        Args:
            name: the hook.
            source: its activation.
            here: all positions that will be run.
            there: the source's; None if they are unknown.
            is_whole: whether all positions to come are known; else more may be generated.
        """
        n_held = source.shape[position_axis(name)]
        self._check_length(name, n_held, here, there)
        matches = self._matches(here, there, source, n_held)
        if not any(match.sources for match in matches):
            names, advice = available(there or here), "Name the source's own by source_positions=."
            raise EmptySelectionError(
                f"source_positions of {self!r}", f"positions that occur ({names})", "none", advice
            )
        for row, match in enumerate(matches):
            n_here, n_there = len(match.targets), len(match.sources)
            if n_here != n_there if is_whole else n_here > n_there:
                raise PositionError(
                    f"{self!r} at {name}, row {row}", "as many positions in the source as here",
                    f"{n_there} in row {match.row} of the source for {n_here} here",
                    "Name both sides: positions=, source_positions=.",
                )  # fmt: skip
        if _fill(name) is not None:
            self._check_keys(name, matches, here, there)
        else:
            for match in matches:
                self._check_finite(name, source[match.row, list(match.sources)])

    def _check_finite(self, name: str, written: Tensor) -> None:
        """What is written is finite in this model's precision."""
        if _fill(name) is None and not bool(written.isfinite().all()):
            got = f"NaN or infinite ones in {str(written.dtype).removeprefix('torch.')}"
            raise HookError(f"Source of {self!r} at {name}", "finite numbers", got)

    def _check_length(self, name: str, n_held: int, here: Sequences, there: Sequences | None) -> None:
        """The source's activation has the positions that its layout says."""
        if there is None:
            n_prompt = here.n_positions if isinstance(here, PictureLayout) else here.n_prompt
            is_right = n_held == here.n_positions or here.n_positions > n_prompt <= n_held
            what, expected = "a source without a layout", f"{here.n_positions} positions, as here"
            advice = "Give the run itself as the source, or source_layout=."
        else:
            # The last token of a generation was not run.
            n_generated = 0 if isinstance(there, PictureLayout) else there.n_positions - there.n_prompt
            is_right = n_held in (there.n_positions, there.n_positions - min(n_generated, 1))
            what, expected, advice = "its layout", f"{there.n_positions} positions, as its layout says", ""
        if not is_right:
            raise PositionError(f"{self!r} at {name}, from {what}", expected, n_held, advice)

    def _check_keys(self, name: str, matches: list[Match], here: Sequences, there: Sequences | None) -> None:
        """Both sides count the same keys: prompts of one length, padded alike, and no query from later on."""
        if isinstance(here, PictureLayout) or there is None:
            return
        assert not isinstance(there, PictureLayout)
        is_right = there.n_prompt == here.n_prompt
        real, theirs = here.mask("all"), there.mask("all")
        for row, match in enumerate(matches):
            prompt = slice(here.n_prompt)
            is_right = is_right and torch.equal(real[row, prompt], theirs[match.row, prompt])
            generated = [pair for pair in zip(match.targets, match.sources, strict=False) if pair[1] >= there.n_prompt]
            is_right = is_right and all(source <= target for target, source in generated)
        if not is_right:
            rule = "a source with the same key positions: prompts of one length, padded alike"
            got = f"prompts of {there.n_prompt} there and {here.n_prompt} here"
            raise PositionError(f"{self!r} at {name}", rule, got, "Patch hook_z, which has no axis of keys.")


def _fill(hook_name: str) -> float | None:
    """What stands where a query sees no key; None where the last axis does not count keys."""
    return next((fill for ending, fill in BY_KEY.items() if hook_name.endswith(ending)), None)

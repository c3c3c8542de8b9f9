"""The logit lens: the residual stream, read as words after every layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record
from vlm_lens.attachments.naming.hook_names import layers_of
from vlm_lens.attachments.naming.towers import Tower, tower_named
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, HookError, InputError
from vlm_lens.layout import Except, Selector
from vlm_lens.model.candidates import Candidates
from vlm_lens.model.two_towers import TwoTowers
from vlm_lens.probes.answer import warn_of_unread_spelling
from vlm_lens.probes.lens.lens_queue import Awaited, LensQueue
from vlm_lens.probes.lens.lens_reading import LensReading
from vlm_lens.probes.lens.lens_statistics import LensStatistics
from vlm_lens.probes.lens.lens_targets import Groups, check_apart, target_groups
from vlm_lens.probes.lens.read_out import CandidateReadOut, ReadOut, VocabularyReadOut
from vlm_lens.probes.token_names import token_names

MEBIBYTE = 2**20
EMBED = "embed"


@dataclass(frozen=True, eq=False)
class LogitLens(Reader):
    """Reads the residual stream through the model's own final norm and unembedding, as the stream passes.

    States are `embed`, the stream that enters block 0, and the stream after each layer, by the layer's number: 33 for
    32 layers. Each is normed once, so the last is the model's own prediction. Nothing but the result is kept:
    layers x positions x vocabulary never exist together. Padding is never reported. Hooks on the final norm and the
    unembedding are neither called nor seen.

    In CLIP's vision tower each position goes through post-norm and projection, and is compared with candidate texts by
    cosine over the learned temperature; the class token's last state is CLIP's own zero-shot answer.

    Attributes:
        top_k: how many of the best tokens to keep.
        targets: tokens to follow: a token id, a string that is one token (`" cat"`), a list of these, or a mapping
            from a name to its aliases, whose probabilities are summed before the sum is ranked among all other tokens.
            Rank 1 is the best; outputs that tie share the better rank. A warning names the other spelling (`"cat"`,
            `" cat"`) where only that is among the best of any state. For CLIP, names or numbers of candidates.
        layers: "all"; "embed"; a layer, or what else means layers (a range, a list, `(0.5, 1.0)`, -1 for the last); a
            list may have "embed" in it.
        positions: which positions.
        tower: "decoder", or "vision" of a `HookedCLIP`.
        candidates: for the vision tower: a whole text or several, what `clip.candidates(texts)` gives, or vectors
            [candidate d_embed].
        memory: bytes of the lens's own tensors at once, beside model and result; places are read so many at a time. A
            library's kernels take buffers of their own besides (benchmarks/lens_memory.py has the whole).
        merges_targets: how a target is ranked: False among all tokens that are none of its own aliases, so that its
            rank does not depend on what else is followed; True in a vocabulary in which the aliases of every target
            are one token. Then no alias may belong to two targets.

    Source: nostalgebraist, "interpreting GPT: the logit lens", 2020; over patches of pictures, Neo et al., "Towards
    Interpreting Visual Information Processing in Vision-Language Models", 2024.

    Example:
        >>> from vlm_lens import LogitLens
        >>> LogitLens(targets={"cat": [" cat", " cats"]}, positions="image")
        LogitLens(targets={'cat': [' cat', ' cats']}, positions='image')
    """

    top_k: int = 5
    targets: Any = None
    layers: Any = "all"
    positions: Selector = "all"
    tower: Literal["decoder", "vision"] = "decoder"
    candidates: str | Sequence[str] | Candidates | Tensor | None = None
    memory: int = 256 * MEBIBYTE
    merges_targets: bool = False

    is_local: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.candidates, Tensor):
            object.__setattr__(self, "candidates", self.candidates.detach().clone())  # it changes no more

    def hook_names(self, model: Any) -> list[str]:
        """The stream into block 0 and after each layer, of those chosen.

        Raises:
            HookError: a tower that the model has not, or that says nothing; layers by an unknown name.
        """
        return list(self.states(model))

    def states(self, model: Any) -> dict[str, str]:
        """The name of each state by its hook: "embed", "0", "1" and so on."""
        tower = self._readable_tower(model)
        layers = self.layers
        has_embed = isinstance(layers, str) and layers in ("all", EMBED)
        is_depths = isinstance(layers, tuple) and all(isinstance(one, float) for one in layers)
        if not isinstance(layers, str | int | slice | range | Except) and not is_depths:
            layers = list(layers)
            has_embed = EMBED in layers
        named = [layers] if isinstance(layers, str) else layers if isinstance(layers, list) else []
        if unknown := [one for one in named if isinstance(one, str) and one not in ("all", EMBED)]:
            rule = f"'all', {EMBED!r}, numbers or a range of layers, or a tuple of two depths"
            raise HookError(f"Layers of {self!r}", rule, repr(unknown[0]))
        if isinstance(layers, list):
            layers = [layer for layer in layers if layer != EMBED]
        states = {tower.hook_name(0, "hook_resid_pre"): EMBED} if has_embed else {}
        if isinstance(layers, str) and layers == EMBED or has_embed and layers == []:
            return states
        what = f"Layers of the {tower.name} tower"
        for layer in layers_of(layers, tower.transformer.cfg.n_layers, what, self.on_empty):
            states[tower.hook_name(layer, "hook_resid_post")] = str(layer)
        return states

    def check(self, ground: Ground) -> None:
        """As every attachment; and targets and candidates must be there to be read.

        Raises:
            InputError: targets that are no single tokens, candidates that do not fit, a top_k or memory below 1.
        """
        super().check(ground)
        for name, value in (("top_k", self.top_k), ("memory", self.memory)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} of {self!r}", "a whole number of 1 or more", repr(value))
        sequences = ground.planned.sequences(self._readable_tower(ground.model).name)  # type: ignore[arg-type]
        if sequences is not None and not bool((sequences.mask(self.positions) & sequences.mask("all")).any()):
            raise EmptySelectionError(f"positions of {self!r}", "positions that are no padding", "padding alone")
        self._lens(ground.model, ground.planned.memo)

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """The chosen positions that are no padding, of each of its states."""
        sequences = ground.planned.sequences(self._readable_tower(ground.model).name)  # type: ignore[arg-type]
        if sequences is None:
            return None
        return dict.fromkeys(self.states(ground.model), sequences.mask(self.positions) & sequences.mask("all"))

    def read(self, activation: Float[Tensor, "batch pos d_model"], here: Here) -> "LensRead | None":
        """What the chosen positions of one state say, now or as soon as it is read out together with others."""
        lens = self._lens(here.model, here.current.memo)
        rows, columns, places = self._places(here)
        found = None
        if len(rows):
            states = activation.detach().flatten(0, 1).index_select(0, places)
            found = LensRead(rows, columns, lens.queue.put(states), lens)
        if here.name == lens.last:
            lens.queue.finish()
        return found

    def result(self, reads: Sequence[Read], record: Record) -> LensReading:
        """All states side by side, over all positions that were run.

        Raises:
            EmptySelectionError: none was, as when a generation ends at once.
        """
        tower = self._readable_tower(record.model)
        lens = reads[0].value.lens if reads else self._lens(record.model, {})
        if tower.name == "vision":
            has_class_token = tower.transformer.cfg.has_class_token
            layout: Any = record.pictures and record.pictures.with_class_tokens(int(bool(has_class_token)))
        else:
            layout = record.layout
        is_counted = (record.counted() if layout is record.layout else layout.mask("all")).numpy()
        if not any(bool(is_counted[read.value.rows, read.value.positions].any()) for read in reads):
            raise self.nothing_read()
        by_state: dict[str, list[LensRead]] = {}
        names = self.states(record.model)
        for read in reads:
            by_state.setdefault(names[read.here.name], []).append(read.value)
        states = dict(zip(by_state, _joined(list(by_state.values())), strict=True))
        reading = LensReading.of(states, tuple(lens.groups), lens.names_of, layout, record.images, is_counted)
        if tower.name == "decoder" and tower.transformer.tokenizer is not None:
            followed = {one for group in lens.groups.values() for one in group}
            read_best = set(reading.top_ids.ravel().tolist())
            warn_of_unread_spelling(tower.transformer, self.targets, read=read_best, followed=followed)
        return reading

    def _readable_tower(self, model: Any) -> Tower:
        """The tower, if its stream can be read as words.

        Raises:
            HookError: a tower that the model has not, or one without words.
        """
        tower = tower_named(model, self.tower)
        if tower.name == "decoder" and hasattr(tower.transformer, "unembed"):
            if self.candidates is not None:
                raise HookError(repr(self), "candidates for tower='vision' alone", "candidates", "Leave them out.")
            return tower
        if tower.name == "vision" and isinstance(model, TwoTowers):
            if self.candidates is None:
                advice = "Give whole texts: LogitLens(tower='vision', candidates=['a photo of a cat.', ...])."
                raise HookError(repr(self), "candidates to compare the pictures with", "none", advice)
            return tower
        raise HookError(
            repr(self),
            "a tower whose stream can be read as words",
            f"the {tower.name} tower of a {type(model).__name__}, which has no text side",
            "A decoder has one, and so has a HookedCLIP's vision tower: LogitLens(tower='vision', candidates=...).",
        )

    def _places(self, here: Here) -> tuple[Tensor, Tensor, Tensor]:
        """The rows and positions of what is read, and its places in the flattened activation, on its device.

        Worked out once a pass, on the CPU: the device is not waited for.
        """
        memo, key = here.current.memo, ("lens places", id(self), here.device)
        if key not in memo:
            is_read = here.held(here.sequences.mask(self.positions) & here.sequences.mask("all")).cpu()
            rows, columns = is_read.nonzero(as_tuple=True)
            places = rows * is_read.shape[1] + columns
            memo[key] = rows, torch.tensor(here.positions, dtype=torch.long)[columns], places.to(here.device)
        found: tuple[Tensor, Tensor, Tensor] = memo[key]
        return found

    def _lens(self, model: Any, memo: dict[Any, Any]) -> "_Lens":
        """What to read with, worked out once a pass."""
        key = ("lens", id(self))
        if key not in memo:
            memo[key] = self._text_lens(model) if self.tower == "vision" else self._word_lens(model)
        lens: _Lens = memo[key]
        return lens

    def _word_lens(self, model: Any) -> "_Lens":
        decoder = tower_named(model, self.tower).transformer
        read_out = VocabularyReadOut.of(decoder)

        def names_of(ids: Sequence[int]) -> list[str]:
            return token_names(decoder, ids)

        groups = target_groups(
            self.targets, read_out.n_outputs, decoder.to_single_token, lambda token: names_of([token])[0]
        )
        return self._read_by(read_out, groups, names_of, model)

    def _text_lens(self, clip: Any) -> "_Lens":
        candidates = _candidates(clip, self.candidates)
        number = {name: place for place, name in enumerate(candidates.names)}

        def id_of(name: str) -> int:
            if name not in number:
                known = ", ".join(map(repr, candidates.names[:8]))
                raise InputError("Targets of the lens", f"names of candidates ({known} ...)", repr(name))
            return number[name]

        groups = target_groups(self.targets, len(candidates), id_of, candidates.names.__getitem__)
        return self._read_by(
            CandidateReadOut.of(clip, candidates), groups, lambda ids: [candidates.names[place] for place in ids], clip
        )

    def _read_by(self, read_out: ReadOut, groups: Groups, names_of: Any, model: Any) -> "_Lens":
        last = max(self.states(model), key=lambda name: (model.hook_dict[name].layer(), name.endswith("post")))
        if self.merges_targets:
            check_apart(groups, names_of)
        queue = LensQueue(read_out, self.top_k, list(groups.values()), self.memory, self.merges_targets)
        return _Lens(queue, groups, names_of, last)


class LensRead(NamedTuple):
    """What was read of one state in one pass."""

    rows: Int[Tensor, " place"]
    positions: Int[Tensor, " place"]
    awaited: Awaited
    lens: "_Lens"


class _Lens(NamedTuple):
    """What to read with: the queue to the read-out, the targets' outputs, what outputs are called, the last hook."""

    queue: LensQueue
    groups: Groups
    names_of: Any
    last: str


def _joined(states: Sequence[Sequence[LensRead]]) -> list[tuple[np.ndarray, np.ndarray, LensStatistics]]:
    """Rows, positions and statistics of each state over all passes, brought to the CPU at once."""
    reads = [read for parts in states for read in parts]
    statistics = LensStatistics.joined([read.awaited.statistics for read in reads]).cpu()
    n_places = [sum(len(read.rows) for read in parts) for parts in states]
    return [
        (torch.cat([read.rows for read in parts]).numpy(), torch.cat([read.positions for read in parts]).numpy(), found)
        for parts, found in zip(states, statistics.split(n_places), strict=True)
    ]


def _candidates(clip: Any, given: Any) -> Candidates:
    """Candidates as vectors of CLIP's own space.

    Raises:
        InputError: vectors of another width, or not finite.
    """
    if isinstance(given, Tensor):
        given = Candidates(tuple(map(str, range(len(given)))), given)
    candidates: Candidates = given if isinstance(given, Candidates) else clip.candidates(given)
    width = clip.visual_projection.weight.shape[0]
    if candidates.vectors.ndim != 2 or candidates.vectors.shape[1] != width:
        raise InputError("Candidates of the lens", f"vectors of width {width}", list(candidates.vectors.shape))
    if not bool(candidates.vectors.isfinite().all()):
        raise InputError("Candidates of the lens", "finite vectors", "NaN or infinite values")
    return candidates

"""What ablations share: vectors to write, checked before the model runs and found for each position."""

from abc import abstractmethod
from collections.abc import Callable
from hashlib import sha256
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from vlm_lens.attachments import Here, PositionWriter
from vlm_lens.attachments.naming.feature_shape import activation_dtype, feature_shape
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.interventions.base_vectors import check_finite, check_vectors
from vlm_lens.layout import PictureLayout

_BLOCK = 64
"""Positions whose draws are made together: whole blocks, so that a longer sequence draws the same at its start."""


class Ablation(PositionWriter):
    """A writer that takes away what some positions of a hook say, one vector a position.

    A subclass says by `value` what stands there instead, and by `check_at` what that needs.
    """

    def check(self, ground: Ground) -> None:
        """As every attachment; and each hook must take what would be written.

        Raises:
            HookError: a hook without a vector for each position, or vectors that do not fit.
        """
        super().check(ground)
        for name in self.hook_names(ground.model):
            self.check_at(name, feature_shape(ground.model, name), ground)

    def check_at(self, hook_name: str, features: tuple[int, ...] | None, ground: Ground) -> None:
        """Raise for a hook that cannot take what would be written.

        Args:
            hook_name: one of its hooks.
            features: the shape of one position's activation there; None for scores, pattern and mask.
            ground: the positions that will be run.
        """
        if features is None:
            rule, got = "a hook with a vector for each position", f"{hook_name}, with an entry for each query and key"
            raise HookError(repr(self), rule, got, "AttentionKnockout blocks edges of attention.")


class VectorAblation(Ablation):
    """An ablation that writes given vectors.

    They are `[*features]`, the same at every position; `[patch *features]`, one for each patch of a picture;
    `[pos *features]`, one for each absolute position; or a whole activation `[batch pos *features]`. `features` is
    `d_model`, or `head_index d_head` at hooks that tell heads apart.
    """

    is_local: ClassVar[bool] = True

    @abstractmethod
    def vectors(self, hook_name: str) -> Tensor:
        """What is written at a hook.

        Raises:
            HookError: where nothing is known for it.
        """

    def check_at(self, hook_name: str, features: tuple[int, ...] | None, ground: Ground) -> None:
        """As every ablation; and the vectors must fit.

        Raises:
            HookError: vectors of another width or length, or none for a selected position; NaN or infinity there, in
                the model's precision.
        """
        super().check_at(hook_name, features, ground)
        assert features is not None
        vectors, what = self.vectors(hook_name), f"{self!r} at {hook_name}"
        dtype = activation_dtype(ground.model, hook_name)
        if vectors.ndim:
            check_vectors(what, vectors, features)
        if vectors.ndim in (0, len(features)):
            check_finite(what, vectors, dtype)
            return
        sequences = ground.sequences_at(hook_name)
        if sequences is None:
            raise HookError(what, f"one vector {list(features)}, as the positions are unknown", list(vectors.shape))
        places, selected = places_of(what, vectors, features, sequences), sequences.mask(self.positions)
        check_places(what, places, selected)
        rows, columns = selected.nonzero(as_tuple=True)
        is_whole = vectors.ndim == len(features) + 2
        written = vectors[rows, places[rows, columns]] if is_whole else vectors[places[rows, columns]]
        check_finite(what, written, dtype)

    def value(self, activation: Tensor, here: Here) -> Tensor:
        """The vectors of the positions held here."""
        vectors, features = self.vectors(here.name), activation.shape[1 if here.place == "none" else 2 :]
        if vectors.ndim in (0, len(features)):
            return vectors
        places = here.held(places_of(repr(self), vectors, tuple(features), here.sequences))
        places = places.clamp(min=0).to(vectors.device)
        if vectors.ndim == len(features) + 1:
            return vectors[places]
        return vectors[torch.arange(len(places), device=vectors.device)[:, None], places]


def check_places(what: str, places: Int[Tensor, "batch pos"], selected: Tensor) -> None:
    """Raise if a selected position has no vector.

    Raises:
        HookError: with the first such position.
    """
    missing = (selected & (places < 0)).nonzero()
    if len(missing):
        row, position = missing[0].tolist()
        raise HookError(what, "a vector for each position", f"none for position {position} of row {row}")


def places_of(what: str, vectors: Tensor, features: tuple[int, ...], sequences: Sequences) -> Int[Tensor, "batch pos"]:
    """For every position so far the number of its vector; -1 where it has none.

    Raises:
        HookError: vectors for another number of positions, patches or rows.
    """
    is_whole = vectors.ndim == len(features) + 2
    n_vectors = vectors.shape[int(is_whole)]
    if is_whole and len(vectors) != sequences.n_rows:
        raise HookError(what, f"an activation of {sequences.n_rows} rows", f"{len(vectors)} rows")
    columns = torch.arange(sequences.n_positions).repeat(sequences.n_rows, 1)
    if isinstance(sequences, PictureLayout):
        if n_vectors == sequences.n_positions:
            return columns
        if n_vectors == sequences.grid.n_patches:
            return (columns - sequences.n_class_tokens).clamp(min=-1)
        rule = f"vectors for {sequences.grid.n_patches} patches or {sequences.n_positions} positions"
        raise HookError(what, rule, n_vectors)
    spans = [(row, span) for row, row_spans in enumerate(sequences.images) for span in row_spans]
    if spans and not is_whole and all(n_vectors in (span.grid.n_patches, span.n_positions) for _, span in spans):
        places = torch.full_like(columns, -1)
        for row, span in spans:
            held = span.patch_positions if n_vectors == span.grid.n_patches else span.positions
            places[row, held.start : held.stop] = torch.arange(n_vectors)
        return places
    # Vectors for a whole generation are longer than the sequence of its first step.
    if n_vectors < sequences.n_prompt:
        patches = f"{spans[0][1].grid.n_patches} patches of a picture or " if spans else ""
        rule = f"vectors for {patches}{sequences.n_prompt} positions"
        raise HookError(what, rule, n_vectors)
    return torch.where(columns < n_vectors, columns, -1)


def numbers_of(sequences: Sequences) -> Int[Tensor, "batch pos"]:
    """A number for each position that neither padding, nor other rows, nor cached generation changes: for draws."""
    if isinstance(sequences, PictureLayout):
        images = torch.tensor([picture.image for picture in sequences.pictures])
        return images[:, None] * sequences.n_positions + torch.arange(sequences.n_positions)
    return (sequences.mask("all").long().cumsum(dim=1) - 1).clamp(min=0)


def drawn(
    seed: str, numbers: Int[Tensor, "batch pos"], draw: Callable[[torch.Generator, int], Tensor]
) -> Shaped[Tensor, "batch pos ..."]:
    """A draw for each number, the same whichever others are asked for.

    Args:
        seed: any text; equal texts draw alike, in every process.
        numbers: see `numbers_of`.
        draw: `draw(generator, count)` gives so many along its first axis.
    """
    blocks, place = torch.unique(numbers // _BLOCK, return_inverse=True)
    made = []
    for block in blocks.tolist():
        generator = torch.Generator().manual_seed(_number_from(f"{seed} {block}"))
        made.append(draw(generator, _BLOCK))
    return torch.stack(made)[place, numbers % _BLOCK]


def _number_from(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:7], "big")

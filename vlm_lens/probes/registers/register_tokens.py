"""Register tokens: patches whose vectors are far longer than the others of their picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record
from vlm_lens.attachments.naming.towers import head_axis, place_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, HookError, InputError
from vlm_lens.layout import ImageSpan, PictureLayout, Region
from vlm_lens.probes.registers.register_reading import RegisterReading


@dataclass(frozen=True, eq=False)
class RegisterTokens(Reader):
    """The patches of each picture whose norm exceeds the picture's mean by more than some standard deviations.

    The deviation is the unbiased one, over the patches alone: a class token is left out. `run[registers]` is a
    `RegisterReading`, with a region for each picture; an empty region is a result.

    Attributes:
        n_std: how many standard deviations above the mean.
        hook: one hook with a vector for each position: of the projector, the vision tower, or the decoder's stream.

    Source: "Towards Interpreting Visual Information Processing in Vision-Language Models", 2024 (n_std = 2, projector
    output); Darcet et al., "Vision Transformers Need Registers", 2023.

    Example:
        >>> from vlm_lens import RegisterTokens
        >>> RegisterTokens(n_std=3.0, hook="vision.blocks.2.hook_resid_post")
        RegisterTokens(n_std=3.0, hook='vision.blocks.2.hook_resid_post')
    """

    n_std: float = 2.0
    hook: str = "projector.hook_out"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.n_std):
            raise InputError("RegisterTokens", "n_std to be a finite number", self.n_std)

    def hook_names(self, model: Any) -> list[str]:
        """The hook.

        Raises:
            HookError: several hooks, or one that has no vector for each patch.
        """
        names = super().hook_names(model)
        if len(names) != 1:
            raise HookError(repr(self), "one hook", f"{len(names)}: {', '.join(names[:3])} ...", "Make one for each.")
        (name,) = names
        no_vector = name.endswith(("hook_scale", "hook_result")) or head_axis(name) is not None
        if no_vector or place_of(model, name) in ("none", "text"):
            raise HookError(repr(self), "a hook with one vector for each patch", name, "Such as hook_resid_post.")
        return names

    def check(self, ground: Ground) -> None:
        """As every attachment; and there must be a picture.

        Raises:
            EmptySelectionError: for text alone.
        """
        super().check(ground)
        if ground.planned.pictures is None:
            raise EmptySelectionError(repr(self), "a picture", "text alone")

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """The patches of its one hook: in the decoder, the pictures' positions."""
        (name,) = self.hook_names(ground.model)
        sequences = ground.sequences_at(name)
        if sequences is None:
            return None
        return {name: sequences.mask("patches" if isinstance(sequences, PictureLayout) else "image")}

    def read(
        self, activation: Float[Tensor, "batch pos d_model"], here: Here
    ) -> Float[Tensor, "image patch_row patch_col"] | None:
        """The norm of every patch's vector, in fp32."""
        pictures = pictures_of(here)
        if here.span.start or pictures is None:
            return None  # a generated token
        norms = activation.detach().norm(dim=-1, dtype=torch.float32)
        if here.place == "decoder":
            spans = [(picture.row, span_of(picture.span, pictures)) for picture in pictures.pictures]
            flat = torch.stack([norms[row, span.patch_positions.start : span.stop] for row, span in spans])
        else:
            flat = norms[:, -pictures.grid.n_patches :]  # class tokens come first
        return rearrange(flat, "image (row col) -> image row col", row=pictures.grid.n_rows)

    def result(self, reads: Sequence[Read], record: Record) -> RegisterReading:
        """The `RegisterReading` of a run."""
        assert reads, "a run with pictures fires every hook of its first pass"
        norms, pictures = reads[0].value.cpu(), pictures_of(reads[0].here)
        assert pictures is not None
        of_picture = rearrange(norms.double(), "image row col -> image (row col)")
        thresholds = of_picture.mean(dim=-1) + self.n_std * of_picture.std(dim=-1, correction=1)
        regions = []
        for picture, values, threshold in zip(pictures.pictures, of_picture, thresholds, strict=True):
            patches = frozenset((values > threshold).nonzero().flatten().tolist())
            regions.append(Region(span_of(picture.span, pictures), picture.row, patches, picture.image))
        return RegisterReading(norms, thresholds, tuple(regions), self.n_std, reads[0].here.name, record.images)


def pictures_of(here: Here) -> PictureLayout | None:
    """The pictures of a pass; those of a tower that was called by itself are known by their number alone."""
    return here.sequences if isinstance(here.sequences, PictureLayout) else here.current.pictures


def span_of(span: ImageSpan | None, pictures: PictureLayout) -> ImageSpan:
    """A picture's place; where only its pixels are known, the patches alone."""
    return span or ImageSpan(0, pictures.grid)

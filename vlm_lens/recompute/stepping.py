"""Shows each variant its own rows of a batch in which several of them decode."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.attachment import Attachment, Reader, Writer
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.rows_asked import is_local
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.recompute.dispatch import left_by
from vlm_lens.recompute.variant import Variant


class Stepping:
    """Stands at the decoder's hooks while variants decode side by side, and shows each its own rows of the batch.

    Writers that touch no generated position do not stand: where nobody does, a step goes its shortest way.

    Args:
        model: the decoder.
        ground: all positions, those to be generated included.
        n_prompt: how many of them are the prompt's.
        variants: in the order of the batch.
    """

    def __init__(self, model: Any, ground: Ground, n_prompt: int, variants: Sequence[Variant]) -> None:
        self.model, self.variants = model, list(variants)
        self._at = {id(one): _standing_at(model, ground, n_prompt, one) for one in variants}
        standing = [at for at in self._at.values() if at]
        self.names = [name for name in model.hook_dict if any(name in at for at in standing)]
        self.current: CurrentPass | None = None
        self._passes: dict[int, CurrentPass] = {}

    @property
    def is_anybody(self) -> bool:
        """Whether anything stands at all."""
        return bool(self.names)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Everything stands until the block ends."""
        with self.model.hooks(fwd_hooks=[(name, self._hook(name)) for name in self.names]):
            yield

    @contextmanager
    def step(self, current: CurrentPass) -> Iterator[None]:
        """One pass of the model: what was worked out for it goes with it."""
        self.current = current
        self._passes = {id(one): replace(current, memo={}) for one in self.variants}
        try:
            yield
        finally:
            for one in (current, *self._passes.values()):
                one.memo.clear()
            for variant in self.variants:
                variant.session.current = None

    def reorder(self, order: Sequence[int]) -> None:
        """Some variants have ended, and others stand in their places."""
        self.variants = [self.variants[place] for place in order]

    def _hook(self, name: str) -> Any:
        """What stands at one hook point for all variants."""
        hook: Any = partial(self._pass)
        if all(isinstance(one, Reader) for at in self._at.values() for one in at.get(name, ())):
            hook.reads_only, hook.rows_asked = True, partial(self._rows_asked, name)
        else:
            hook.returns_new = True
        return hook

    def _rows_asked(self, name: str) -> tuple[int, ...] | None:
        """Whether any reader looks at the row of this step: None if so, and no rows if not."""
        for variant in self.variants:
            for one in self._at[id(variant)].get(name, ()):
                if isinstance(one, Reader) and self._is_asking(variant, one, name):
                    return None
        return ()

    def _is_asking(self, variant: Variant, reader: Reader, name: str) -> bool:
        """Whether a reader is to be shown the row of this step; one that is local says so at scores and pattern."""
        if not is_local(reader) or not name.endswith(("hook_attn_scores", "hook_pattern")):
            return True
        self._tell(variant, reader)
        return variant.session._rows_asked(reader, name) != ()

    def _tell(self, variant: Variant, reader: Reader) -> None:
        """Which pass this is. What a reader works out for it is its variant's alone, unless the reader is local."""
        variant.session.current = self.current if is_local(reader) else self._passes[id(variant)]

    def _pass(self, activation: Tensor, hook: HookPoint) -> Tensor | None:
        name, is_mask = str(hook.name), str(hook.name).endswith("hook_mask")
        assert self.current is not None
        here, pieces, left = None, [], []
        for place, variant in enumerate(self.variants):
            piece = shown = self._rows_of(activation, place, is_mask)
            for one in self._at[id(variant)].get(name, ()):
                if isinstance(one, Writer):
                    here = here or Here.at(self.model, hook, piece, self.current)
                    shown = left_by(one, shown, here)
                elif isinstance(one, Reader) and self._is_asking(variant, one, name):
                    self._tell(variant, one)
                    variant.session._read(one, shown, hook)
            pieces.append(piece)
            left.append(shown)
        if all(one is piece for one, piece in zip(left, pieces, strict=True)):
            return None
        return self._joined_masks(left) if is_mask else torch.cat(left)

    def _rows_of(self, activation: Tensor, place: int, is_mask: bool) -> Tensor:
        """A variant's rows of what passes; of a mask, which layers share, they are one tensor for all of these."""
        n_rows = len(activation) // len(self.variants)
        if not is_mask:
            return activation[place * n_rows : (place + 1) * n_rows]
        assert self.current is not None
        memo, key = self.current.memo, ("rows of a variant", id(activation), place)
        if key not in memo:
            memo[key] = activation, activation[place * n_rows : (place + 1) * n_rows]
        rows: Tensor = memo[key][1]
        return rows

    def _joined_masks(self, masks: list[Tensor]) -> Tensor:
        """The variants' masks as one, which layers share that are given the same ones: it is examined once."""
        assert self.current is not None
        memo, key = self.current.memo, ("joined masks", *map(id, masks))
        if key not in memo:
            n_heads = max(one.shape[1] for one in masks)  # some block heads apart
            memo[key] = masks, torch.cat([one.expand(-1, n_heads, -1, -1) for one in masks])
        joined: Tensor = memo[key][1]
        return joined


def _standing_at(model: Any, ground: Ground, n_prompt: int, variant: Variant) -> dict[str, list[Attachment]]:
    """What of a variant stands at the decoder's hooks for generated positions, in order."""
    found: dict[str, list[Attachment]] = {}
    touched: dict[int, Any] = {}
    for name, standing in variant.reach.at.items():
        if place_of(model, name) != "decoder":
            continue
        for one in standing:
            if isinstance(one, Writer):
                if id(one) not in touched:
                    touched[id(one)] = one.touched(ground)
                rows = touched[id(one)]
                if rows is not None and not bool(rows[name][:, n_prompt:].any()):
                    continue
            found.setdefault(name, []).append(one)
    return found

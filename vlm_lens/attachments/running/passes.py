"""From a call of the model to the pass that it makes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlm_lens.attachments.naming.towers import grid_of
from vlm_lens.attachments.running.current_pass import CurrentPass, all_real, plain_layout
from vlm_lens.inputs import Inputs
from vlm_lens.layout import ROLES, PictureLayout, TokenLayout
from vlm_lens.model.joined import JoinedTransformer
from vlm_lens.model.transformer import HookedTransformer


def first_pass(model: Any, given: Any, attention_mask: Tensor | None = None, keeps_keys: bool = False) -> CurrentPass:
    """The pass of a prompt, or of a plain run.

    Args:
        model: what runs.
        given: its input.
        attention_mask: given as an option of the forward; a mapping's own comes first.
        keeps_keys: see `CurrentPass`.
    """
    layout = _layout_of(model, given)
    if layout is not None and attention_mask is not None:
        layout = _masked(layout, given, attention_mask)
    pictures = _pictures_of(model, given, layout)
    step = 0 if layout is None else layout.n_positions - layout.n_prompt
    texts = tuple(getattr(given, "texts", ()))
    return CurrentPass(model, layout, pictures, step=step, keeps_keys=keeps_keys, texts=texts)


def next_pass(before: CurrentPass | None, model: Any, tokens: Tensor, n_before: int) -> CurrentPass:
    """The pass of generated tokens, after those whose keys and values are held."""
    n_new = tokens.shape[-1]
    if before is None or before.layout is None or before.layout.n_positions != n_before:
        layout, step = all_real(len(tokens), n_before + n_new), 1  # attached in the middle of a generation
    else:
        layout, step = before.layout.extended(n_new), before.step + 1
    return CurrentPass(model, layout, None, n_before, step)


def planned_pass(current: CurrentPass, n_expected: int) -> CurrentPass:
    """A first pass that knows how many tokens may be generated: their positions can be named from the start."""
    if current.layout is None or n_expected <= 1:
        return current
    n_planned = current.layout.n_prompt + n_expected - 1  # the last token that is generated is not run
    return replace(current, layout=replace(current.layout, n_planned=n_planned))


def whole(current: CurrentPass) -> CurrentPass:
    """A pass as long as the longest to come."""
    layout = current.layout
    if layout is None or layout.n_planned <= layout.n_positions:
        return current
    return replace(current, layout=layout.extended(layout.n_planned - layout.n_positions), memo={})


def _layout_of(model: Any, given: Any) -> TokenLayout | None:
    """What the positions of a prompt are."""
    if isinstance(given, Tensor) and given.is_floating_point():
        return all_real(*given.shape[:2]) if given.ndim == 3 else None  # a stream, or pixels
    layout = getattr(given, "layout", None)
    if isinstance(layout, TokenLayout):
        return layout
    if isinstance(model, JoinedTransformer):
        return model.as_inputs(model.prompts_of(given)).layout
    if isinstance(model, HookedTransformer):
        if model.cfg.input_type == "pixels":
            return None
        given = model.prompts_of(given)
    if not isinstance(given, Mapping) or "input_ids" not in given:
        return None
    tokens = torch.as_tensor(given["input_ids"])
    mask = given.get("attention_mask")
    return plain_layout(torch.ones_like(tokens).bool() if mask is None else torch.as_tensor(mask).bool())


def _masked(layout: TokenLayout, given: Any, attention_mask: Any) -> TokenLayout:
    """The layout with padding where a mask says so."""
    is_real = torch.as_tensor(attention_mask).bool().to(layout.role_ids.device)
    if isinstance(given, Mapping) and "attention_mask" in given or is_real.shape != layout.role_ids.shape:
        return layout
    return replace(layout, role_ids=layout.role_ids.masked_fill(~is_real, ROLES.index("pad")))


def _pictures_of(model: Any, given: Any, layout: TokenLayout | None) -> PictureLayout | None:
    """What the positions of each picture are."""
    if isinstance(getattr(given, "pictures", None), PictureLayout):
        return given.pictures
    if isinstance(given, Inputs) or isinstance(model, JoinedTransformer):
        return None if layout is None else PictureLayout.of(layout, 0)
    pixels = given.get("pixel_values") if isinstance(given, Mapping) else given
    if not isinstance(pixels, Tensor) or pixels.ndim != 4:
        return None
    tower = getattr(model, "vision", model)
    return PictureLayout.unknown(len(pixels), grid_of(tower), 0)

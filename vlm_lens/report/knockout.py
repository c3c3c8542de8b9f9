"""The answer without some edges of attention: from the positions that predict it to some patches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Region
from vlm_lens.report.data import KnockoutOutcome
from vlm_lens.report.token_names import token_names

N_CONTROL_DRAWS = 4
NamedHooks = list[tuple[str | Callable[..., Any], Callable[..., Any]]]


def cut_edges(keys: Sequence[int], layers: Sequence[int]) -> NamedHooks:
    """Hooks that stop the last query position from attending to `keys` in `layers`, before the softmax.

    In a plain run the last query is the last position of the prompt; under cached generation it is that
    position and then every generated one: the positions that predict the answer.
    """
    columns = torch.as_tensor(list(keys))

    def cut(
        mask: Bool[Tensor, "batch head_index query_pos key_pos"], hook: torch.nn.Module
    ) -> Bool[Tensor, "batch head_index query_pos key_pos"]:
        mask = mask.clone()
        mask[:, :, -1, columns.to(mask.device)] = False
        return mask

    return [(f"blocks.{layer}.attn.hook_mask", cut) for layer in layers]


def cut_probabilities(
    vlm: HookedVLM, inputs: Inputs, keys: Sequence[int], layers: Sequence[int]
) -> Float[Tensor, "d_vocab"]:
    """The probabilities of the answer's first token with the edges cut."""
    with torch.inference_mode():
        logits = vlm.run_with_hooks(inputs, fwd_hooks=cut_edges(keys, layers))
    return logits[0, -1].float().softmax(dim=-1).cpu()


def generated_text(vlm: HookedVLM, inputs: Inputs, max_new_tokens: int) -> str:
    """The greedy answer, without the prompt and special tokens."""
    return vlm.generate(inputs, max_new_tokens=max_new_tokens).text


def knock_out(
    vlm: HookedVLM,
    inputs: Inputs,
    before: Float[Tensor, "d_vocab"],
    cut: Region,
    is_whole_image: bool,
    dilation: int,
    layers: tuple[int, ...],
    max_new_tokens: int,
) -> KnockoutOutcome:
    """The answer with the region's patches cut off, and with as many random other patches instead."""
    after = cut_probabilities(vlm, inputs, cut.positions, layers)
    controls = [cut_probabilities(vlm, inputs, keys, layers) for keys in control_draws(cut)]
    with vlm.hooks(fwd_hooks=cut_edges(cut.positions, layers)):
        answer = generated_text(vlm, inputs, max_new_tokens)
    ids = list(dict.fromkeys([*before.topk(3).indices.tolist(), *after.topk(3).indices.tolist()]))
    names = token_names(vlm, ids)

    def values(run: Float[Tensor, "d_vocab"]) -> dict[str, float]:
        return {name: float(run[token]) for name, token in zip(names, ids, strict=True)}

    return KnockoutOutcome(
        n_patches=len(cut),
        is_whole_image=is_whole_image,
        dilation=0 if is_whole_image else dilation,
        layers=layers,
        n_layers=vlm.cfg.n_layers,
        before=values(before),
        after=values(after),
        control=values(torch.stack(controls).mean(dim=0)) if controls else None,
        n_draws=len(controls),
        answer=answer,
    )


def control_draws(cut: Region) -> list[tuple[int, ...]]:
    """Positions of as many patches outside the region, drawn at random with a fixed seed; [] if too few."""
    others = np.array((~cut).positions, dtype=np.int64)
    if len(others) < len(cut):
        return []
    random = np.random.default_rng(0)
    draws = [random.choice(others, size=len(cut), replace=False) for _ in range(N_CONTROL_DRAWS)]
    return [tuple(int(position) for position in np.sort(draw)) for draw in draws]


def checked_layers(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    """The layers in which edges are cut, ascending.

    Raises:
        InputError: none, or one that the model does not have.
    """
    chosen = tuple(range(n_layers)) if layers is None else tuple(sorted(set(layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_layers:
        got = "none" if not chosen else ", ".join(map(str, chosen))
        raise InputError("Layers of the knockout", f"some of 0 to {n_layers - 1}", got)
    return chosen

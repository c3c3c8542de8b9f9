"""The answer without some edges of attention: from the text, or from the answer alone, to some patches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Region
from vlm_lens.probes.token_names import token_names
from vlm_lens.report.data import Cut, KnockoutOutcome

N_CONTROL_DRAWS = 4
NamedHooks = list[tuple[str | Callable[..., Any], Callable[..., Any]]]


def cut_edges(keys: Sequence[int], layers: Sequence[int], *, first_query: int) -> NamedHooks:
    """Hooks that block attention to `keys` before the softmax, from `first_query` on.

    Positions are absolute, so the same hooks hold in a plain run, in the first step of cached generation
    and in every later one, where the mask has a single row.

    Args:
        keys: the positions that are no longer seen.
        layers: where.
        first_query: the first position that no longer sees them.
    """
    columns = torch.as_tensor(list(keys))

    def cut(
        mask: Bool[Tensor, "batch head_index query_pos key_pos"], hook: torch.nn.Module
    ) -> Bool[Tensor, "batch head_index query_pos key_pos"]:
        n_queries, n_keys = mask.shape[-2:]
        first_row = max(0, first_query - (n_keys - n_queries))
        mask = mask.clone()
        mask[:, :, first_row:, columns.to(mask.device)] = False
        return mask

    return [(f"blocks.{layer}.attn.hook_mask", cut) for layer in layers]


def generated_text(vlm: HookedVLM, inputs: Inputs, max_new_tokens: int) -> str:
    """The greedy answer, without the prompt and special tokens."""
    return vlm.generate(inputs, max_new_tokens=max_new_tokens).text


@dataclass(frozen=True, eq=False)
class Knockout:
    """Some patches of one input, cut off from the positions behind them.

    Attributes:
        vlm: the model.
        inputs: one row.
        region: the patches that are no longer seen.
        layers: where.
        max_new_tokens: the longest answer.
    """

    vlm: HookedVLM
    inputs: Inputs
    region: Region
    layers: tuple[int, ...]
    max_new_tokens: int

    @property
    def first_answer(self) -> int:
        """The last position of the prompt, which predicts the answer's first token."""
        return self.inputs.layout.positions("last")[0]

    @property
    def first_text(self) -> int:
        """The first position behind the picture."""
        return self.region.span.stop

    def probabilities(self, keys: Sequence[int], first_query: int) -> Float[Tensor, "d_vocab"]:
        """The probabilities of the answer's first token with `keys` cut off."""
        hooks = cut_edges(keys, self.layers, first_query=first_query)
        with torch.inference_mode():
            logits = self.vlm.run_with_hooks(self.inputs, fwd_hooks=hooks)
        return logits[0, -1].float().softmax(dim=-1).cpu()

    def answer(self, first_query: int) -> str:
        """The text generated with the region cut off at every step."""
        with self.vlm.hooks(fwd_hooks=cut_edges(self.region.positions, self.layers, first_query=first_query)):
            return generated_text(self.vlm, self.inputs, self.max_new_tokens)

    def outcome(self, clean: Float[Tensor, "d_vocab"], *, is_whole_image: bool, dilation: int) -> KnockoutOutcome:
        """Both cuts and the control.

        Args:
            clean: the probabilities of the clean run.
            is_whole_image: whether the region is the whole picture for want of an object.
            dilation: by how many patches the region had been grown.
        """
        keys = self.region.positions
        answer_run = self.probabilities(keys, self.first_answer)
        text_run = self.probabilities(keys, self.first_text)
        draws = [self.probabilities(draw, self.first_text) for draw in control_draws(self.region)]
        best = [token for run in (clean, answer_run, text_run) for token in run.topk(2).indices.tolist()]
        ids = list(dict.fromkeys(best))
        names = token_names(self.vlm, ids)

        def values(run: Float[Tensor, "d_vocab"]) -> dict[str, float]:
            return {name: float(run[token]) for name, token in zip(names, ids, strict=True)}

        return KnockoutOutcome(
            n_patches=len(self.region),
            is_whole_image=is_whole_image,
            dilation=dilation,
            layers=self.layers,
            n_layers=self.vlm.cfg.n_layers,
            clean=values(clean),
            from_answer=Cut(values(answer_run), self.answer(self.first_answer)),
            from_text=Cut(values(text_run), self.answer(self.first_text)),
            control=values(torch.stack(draws).mean(dim=0)) if draws else None,
            n_draws=len(draws),
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
